"""What the trainer needs from others."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from contracts.envelope import Envelope
from contracts.events.base import Event
from services.trainer.job import Job, Made

E = TypeVar("E", bound=Event)

Stage = Literal["features", "fit", "export", "log"]


class CannotTrain(Exception):
    """This training cannot succeed as asked, and no repetition mends it; the text says why and what to do."""


@dataclass(frozen=True)
class Step:
    """A step of a training is done."""

    stage: Stage
    done: int
    total: int
    metrics: dict[str, float] = field(default_factory=dict)


class Facts(Protocol):
    """What was said on the bus."""

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None: ...

    def read(
        self, event_type: type[E], project: str, *, from_seq: int = 1
    ) -> AsyncIterator[tuple[E, Envelope, int]]: ...


class Claims(Protocol):
    """Who does a piece of work, and what came of it."""

    async def take(self, key: str, owner: str) -> dict[str, Any] | None: ...

    async def finish(self, key: str, owner: str, result: dict[str, Any]) -> None: ...

    async def release(self, key: str, owner: str) -> None: ...

    async def held(self, keys: str) -> dict[str, str]: ...


class Trainer(Protocol):
    """Trains."""

    def train(self, job: Job) -> AsyncGenerator[Step | Made]:
        """Steps as they are done, and last what was made; nothing at the end where the job only helps.

        Closing the iterator or cancelling its consumer stops the work.

        Raises:
            CannotTrain: never, as asked.
            Retry: not now.
        """
        ...

    async def cancel(self, project: str, claim: str, reason: str) -> bool:
        """End what an earlier try began under this claim and nobody goes on with, as cancelled; True also if there
        is nothing. False when it was finished before: too late, `train` gives what was made.

        Raises:
            Retry: not now.
        """
        ...
