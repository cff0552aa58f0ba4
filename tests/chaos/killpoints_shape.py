"""What a point of death is, and who comes to it."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Point:
    """The process dies when everything before the effect `before` was made, and `before` itself was not.

    `left` is what it leaves behind since the last point, `mended` what the next run finds and does.
    """

    before: str
    left: str
    mended: str


@dataclass(frozen=True)
class Handler:
    """What a service does about one event, or by itself.

    `also` are effects of another handler that runs at the same time, or that come now and then; `at_once` says that
    some are made at the same time as others, so that their order is a matter of chance.
    """

    service: str
    heard: str
    points: tuple[Point, ...]
    also: frozenset[str] = field(default=frozenset())
    at_once: bool = False

    def own(self, made: Iterable[str]) -> list[str]:
        """Of the effects that were made those of its points, in order."""
        return [effect for effect in made if effect.partition(" #")[0] not in self.also]

    @property
    def name(self) -> str:
        """`trainer: dataset.versioned`."""
        return f"{self.service}: {self.heard}"
