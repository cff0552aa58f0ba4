"""What the evaluator needs from others."""

from typing import Protocol, TypeVar

from contracts.envelope import Envelope
from contracts.events.base import Event
from services.evaluator.job import Compared, Job

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
