"""What the evaluator needs from others."""

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from contracts.envelope import Envelope
from contracts.events.base import Event
from services.evaluator.job import Compared, Job
from services.evaluator.watched import Reference, Watched

E = TypeVar("E", bound=Event)


class CannotJudge(Exception):
    """These models and this test set allow no judgement, and no repetition mends it; the text says why."""


class Facts(Protocol):
    """What was said on the bus."""

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None: ...


class Models(Protocol):
    """Asks models."""

    async def compare(self, job: Job) -> Compared:
        """Both models on one test set.

        Raises:
            CannotJudge: never, with these models and images.
            Retry: not now.
        """
        ...


class Bus(Protocol):
    """The bus, as the watch needs it."""

    async def say(self, event: Event, *, project: str, cause: Envelope | None = None) -> Envelope: ...

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None: ...

    def read(
        self, event_type: type[E], project: str = "*", *, from_seq: int = 1
    ) -> AsyncIterator[tuple[E, Envelope, int]]: ...


class Kept(Protocol):
    """What the watch keeps of a project, each with the revision that the next change must name."""

    async def watched(self, project: str) -> tuple[Watched, int]:
        """The state; an empty one with revision 0 where there is none."""
        ...

    async def save(self, project: str, watched: Watched, revision: int) -> int:
        """Keep a changed state; returns its revision. Raises Retry when another replica changed it meanwhile."""
        ...

    async def reference(self, project: str) -> Reference | None:
        """What windows are compared with."""
        ...

    async def save_reference(self, project: str, reference: Reference) -> None:
        """Keep it, in place of the one before."""
        ...
