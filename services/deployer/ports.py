"""What the deployer needs from outside, named by need."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from contracts.envelope import Envelope
from contracts.events.base import BlobRef, Event
from contracts.events.model import ModelVersion
from services.deployer.route import Route

E = TypeVar("E", bound=Event)


class ModelRefused(Exception):
    """A node does not take the model, or the model does not answer; no repetition mends that."""


class ModelNodes(Protocol):
    """The nodes that serve models. Every method raises `Away` when the node cannot be reached."""

    @property
    def names(self) -> tuple[str, ...]:
        """All nodes."""
        ...

    async def digest(self, node: str, model: str) -> str | None:
        """SHA-256 of the file of a model that is ready on the node; None when it is not."""
        ...

    async def load(self, node: str, config: Mapping[str, Any], file: bytes) -> float:
        """Push a model and wait until it is ready; returns seconds. Raises ModelRefused."""
        ...

    async def unload(self, node: str, model: str) -> None:
        """Take a model off the node; nothing happens when it is not there."""
        ...

    async def answer(self, node: str, model: str, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Probabilities [images, classes] for images uint8 [3, H, W], each asked alone. Raises ModelRefused."""
        ...


class Routes(Protocol):
    """Which version serves which project."""

    async def projects(self) -> list[str]:
        """All that have a route."""
        ...

    async def get(self, project: str) -> tuple[Route, int] | None:
        """The route and its revision."""
        ...

    async def put(self, project: str, route: Route, revision: int | None) -> None:
        """Set the route if `revision` is still the last one (None: if there is none yet). Raises Retry when not."""
        ...


class Said(Protocol):
    """What was said on the bus."""

    def read(self, event_type: type[E], project: str) -> AsyncIterator[tuple[E, Envelope, int]]:
        """All stored facts of a type about a project, the oldest first."""
        ...


class Artifacts(Protocol):
    """The files of trained models."""

    async def read(self, ref: BlobRef) -> bytes:
        """The bytes, which have the SHA-256 that the reference says. Raises Rejected when they have not."""
        ...


class Trust(Protocol):
    """Whose versions may serve."""

    def check(self, version: ModelVersion) -> None:
        """Return where a trusted key has signed exactly this version. Raises Rejected."""
        ...
