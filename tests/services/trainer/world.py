"""What surrounds a trainer in its tests: facts, claims and a child that trains nothing."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.envelope import Envelope
from contracts.events.base import BlobRef, Event
from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.project import ProjectDefined
from contracts.events.training import (
    TrainedModel,
)
from contracts.project import Data, Model, ScopeCard
from services.chassis.errors import Busy
from services.chassis.heard import Heard
from services.trainer.handlers import Ports, on_dataset_versioned, on_training_requested
from services.trainer.job import Job, Made
from services.trainer.ports import Step

REF = BlobRef(uri=f"blob://{'a' * 64}.pt", sha256="a" * 64, size_bytes=3)
CLASSES = ("good", "bad")


def card(**model: Any) -> ProjectDefined:
    return ProjectDefined(card=ScopeCard(project="solar", data=Data(classes=CLASSES), model=Model(**model)))


def dataset(number: int) -> DatasetVersioned:
    return DatasetVersioned(
        dataset_id=f"{number:016x}",
        number=number,
        manifest=REF,
        classes=CLASSES,
        counts=tuple(ClassCount(label=name, train=9, validation=2, test=4) for name in CLASSES),
        labels=30,
        new_labels=30,
    )


def envelope(event: Event, id_: str) -> Envelope:
    return Envelope.first(event, project="solar", source="/test", id=id_, time=datetime(2026, 11, 24, tzinfo=UTC))


def heard(event: Event, id_: str = "e1", owner: str = "LOOP:7", tries: int = 1) -> Heard:
    return Heard(envelope(event, id_), owner, tries)


class FakeFacts:
    """Facts that were all said so many minutes after what is heard. `later` are some with their place and speaker."""

    def __init__(self, *said: Event) -> None:
        self.said = list(said)
        self.later: list[tuple[int, Event, str]] = []
        self.minutes_later = 0

    async def last(self, event_type: type[Any], project: str) -> tuple[Any, Envelope] | None:
        found = [event for event in self.said if isinstance(event, event_type)]
        if not found or project != "solar":
            return None
        said = envelope(found[-1], "x")
        return found[-1], replace(said, time=said.time + timedelta(minutes=self.minutes_later))

    async def read(
        self, event_type: type[Any], project: str, *, from_seq: int = 1
    ) -> AsyncIterator[tuple[Any, Envelope, int]]:
        for seq, event in enumerate(self.said):
            if isinstance(event, event_type) and seq >= from_seq - 1:
                yield event, envelope(event, str(seq)), seq
        for seq, event, source in self.later:
            if isinstance(event, event_type) and seq >= from_seq:
                yield event, replace(envelope(event, str(seq)), source=source), seq


class FakeClaims:
    def __init__(self) -> None:
        self.held_: dict[str, dict[str, Any]] = {}

    async def take(self, key: str, owner: str) -> dict[str, Any] | None:
        value = self.held_.setdefault(key, {"owner": owner})
        if "result" in value:
            result: dict[str, Any] = value["result"]
            return result
        if value["owner"] != owner:
            raise Busy(key)
        return None

    async def finish(self, key: str, owner: str, result: dict[str, Any]) -> None:
        self.held_[key] = {"owner": owner, "result": result}

    async def release(self, key: str, owner: str) -> None:
        if self.held_.get(key) == {"owner": owner}:
            del self.held_[key]

    async def held(self, keys: str) -> dict[str, str]:
        begin = keys.removesuffix("*")
        held = {key: value for key, value in self.held_.items() if key.startswith(begin)}
        return {key: value["owner"] for key, value in held.items() if "result" not in value}


class FakeTrainer:
    """Trains, and keeps of each claim what MLflow keeps: how its run stands."""

    def __init__(self, raises: Callable[[], Exception] | None = None) -> None:
        self.raises = raises
        self.jobs: list[Job] = []
        self.runs: dict[str, str] = {}
        self.endless = False
        self.parameters: dict[str, Any] | None = None

    async def train(self, job: Job) -> AsyncGenerator[Step | Made]:
        self.jobs.append(job)
        self.runs.setdefault(job.claim, "RUNNING")
        yield Step("features", 16, 30)
        if self.endless:
            await asyncio.Event().wait()
        if job.helps:
            return
        if self.raises:
            raise self.raises()
        self.runs[job.claim] = "FINISHED"
        model = TrainedModel(file=REF, golden=REF, classes=job.classes, max_side=64)
        metrics = {"validation_accuracy": 0.9}
        yield Made(run_id=f"run-{len(self.jobs)}", model=model, metrics=metrics, parameters=self.parameters)

    async def cancel(self, project: str, claim: str, reason: str) -> bool:
        assert claim.startswith(f"train.{project}.")
        assert reason
        if self.runs.get(claim) == "FINISHED":
            return False
        if claim in self.runs:
            self.runs[claim] = "KILLED"
        return True


class World:
    """A trainer's surroundings with a card and two dataset versions."""

    def __init__(self, *said: Event, raises: Callable[[], Exception] | None = None) -> None:
        self.facts = FakeFacts(*(said or (card(), dataset(1), dataset(2))))
        self.claims = FakeClaims()
        self.trainer = FakeTrainer(raises)
        ticks = iter(range(1000))
        self.ports = Ports(self.facts, self.claims, self.trainer, "host/1", lambda: float(next(ticks)))

    async def hears(
        self, event: Event, id_: str = "e1", owner: str = "LOOP:7", tries: int = 1, said: list[Event] | None = None
    ) -> list[Event]:
        """What is said to an event; also added to `said` as it is said."""
        said = [] if said is None else said
        handler: Any = on_dataset_versioned if isinstance(event, DatasetVersioned) else on_training_requested
        async for fact in handler(event, heard(event, id_, owner, tries), ports=self.ports):
            said.append(fact)
        return said

    async def is_killed_after(self, last: type[Event], event: Event, id_: str = "e1", owner: str = "LOOP:7") -> None:
        """Hear an event, and die when a fact of this type was said."""
        handler: Any = on_dataset_versioned if isinstance(event, DatasetVersioned) else on_training_requested
        async with aclosing(handler(event, heard(event, id_, owner), ports=self.ports)) as facts:
            async for fact in facts:
                if isinstance(fact, last):
                    return
        raise AssertionError(f"{last.name()} was never said")
