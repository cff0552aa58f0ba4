"""What the predictor needs from outside, named by need."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from contracts.envelope import Envelope
from contracts.events.base import BlobRef, Event, ImageRef
from services.chassis.errors import Busy
from services.predictor.answer import Serving

E = TypeVar("E", bound=Event)


class NotLoaded(Busy):
    """Nodes answer, but none has the model of the route: the deployer is to bring it back."""


@dataclass(frozen=True)
class Picture:
    """An image ready to be looked at: `pixels` uint8 [3, H, W], shrunk; `width` and `height` of the original."""

    data: bytes
    uri: str | None
    pixels: NDArray[np.uint8]
    width: int
    height: int


@dataclass(frozen=True)
class ModelAnswer:
    """Of one image: probabilities float32 [classes], heat map float32 [h, w] in 0..1, embedding float32 [D]."""

    node: str
    probabilities: NDArray[np.float32]
    heat_map: NDArray[np.float32]
    embedding: NDArray[np.float32]


class Pictures(Protocol):
    """Images in, images out."""

    async def open(self, image_base64: str | None, image_uri: str | None, max_side: int) -> Picture:
        """Decode one of the two and shrink it. Raises Unanswerable with a sentence for the sender."""
        ...

    async def keep(self, picture: Picture, heat_map: NDArray[np.uint8]) -> tuple[ImageRef, BlobRef]:
        """Put the image, where it came inline, and its heat map (8-bit grey) into the store."""
        ...


class Models(Protocol):
    """The nodes that answer."""

    async def infer(self, serving: Serving, pixels: NDArray[np.uint8]) -> ModelAnswer:
        """Ask one node after the other. Raises Unanswerable (the image is refused), NotLoaded, or Retry."""
        ...


class Routes(Protocol):
    """Which version serves which project."""

    async def of(self, project: str) -> Serving | None:
        """As last heard, looked up where nothing was heard yet."""
        ...

    async def reread(self, project: str) -> None:
        """What was heard last is outdated: look it up."""
        ...


class Said(Protocol):
    """What was said on the bus last."""

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None:
        """The last event of a type about a project."""
        ...


@dataclass(frozen=True)
class Ports:
    """All of them, with the clocks: `now` is the time of day, `clock` seconds that only go forward."""

    pictures: Pictures
    models: Models
    routes: Routes
    said: Said
    now: Callable[[], datetime]
    clock: Callable[[], float]
