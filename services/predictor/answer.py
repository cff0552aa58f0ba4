"""From what a model gives to what people read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Unanswerable(Exception):
    """This request has no answer, however often it is tried; the text says why and what to do."""


@dataclass(frozen=True)
class Serving:
    """What answers a project's traffic: a version, Triton's `model` name for it, and the nodes that have it.

    `classes` are in the order of the probabilities; larger images are shrunk to `max_side` pixels.
    """

    version: int
    model: str
    classes: tuple[str, ...]
    max_side: int
    nodes: tuple[str, ...]

    @classmethod
    def read(cls, route: Mapping[str, Any]) -> "Serving":
        """From a value of the bucket `deployments`. KeyError when it lacks a part."""
        current = route["current"]
        return cls(
            version=int(current["version"]),
            model=str(current["model"]),
            classes=tuple(current["classes"]),
            max_side=int(current["max_side"]),
            nodes=tuple(route["nodes"]),
        )


@dataclass(frozen=True)
class Verdict:
    """The likeliest class and all probabilities, each in 0..1."""

    label: str
    confidence: float
    probabilities: tuple[float, ...]


def verdict(serving: Serving, probabilities: NDArray[np.float32]) -> Verdict:
    """What probabilities [classes] say.

    Raises:
        Unanswerable: not one finite number for each class.
    """
    if probabilities.shape != (len(serving.classes),) or not np.isfinite(probabilities).all():
        raise Unanswerable(
            f"{serving.model} gave {probabilities.tolist()} for the classes {', '.join(serving.classes)}: "
            "the model is broken; deploy another version"
        )
    # A sum in 32 bits can end at 1.0000001.
    values = tuple(float(value) for value in np.clip(probabilities, 0.0, 1.0))
    best = int(np.argmax(probabilities))
    return Verdict(serving.classes[best], values[best], values)


def grey(heat_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A heat map float32 [h, w] in 0..1 as 8-bit grey: 1 is white."""
    return (np.clip(np.nan_to_num(heat_map), 0.0, 1.0) * 255 + 0.5).astype(np.uint8)


def in_turn(nodes: Sequence[str], turn: int) -> tuple[str, ...]:
    """The nodes in the order in which call number `turn` tries them, so that calls spread evenly."""
    first = turn % len(nodes)
    return (*nodes[first:], *nodes[:first])
