"""A bus and a bucket in memory for the watch, and answers as a predictor gives them."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import numpy as np

from contracts.envelope import Envelope, derive_id
from contracts.events.base import Event, ImageRef
from contracts.events.feedback import FeedbackGiven
from contracts.events.model import ModelPromoted
from contracts.events.prediction import PredictionCompleted, Timings
from contracts.events.project import ProjectDefined
from contracts.project import Data, ScopeCard, Watch
from services.chassis.errors import Retry
from services.chassis.sketches import sketch
from services.evaluator.watched import Reference, Watched
from services.evaluator.watching import Watcher
from tests.said import CLASSES, model_version

E = TypeVar("E", bound=Event)
PROJECT = "solar"
START = datetime(2026, 11, 24, 9, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone."""


def answer(number: int, label: str = "functional", *, version: int = 1, shift: float = 0.0) -> PredictionCompleted:
    """The answer to picture `number`, the same each time; `shift` moves its embedding, in deviations."""
    random = np.random.default_rng(number)
    confidence = float(random.uniform(0.6, 1.0))
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    return PredictionCompleted(
        prediction_id=f"p-{number}",
        image=ImageRef(uri=f"blob://{sha256}.png", sha256=sha256, width=8, height=8),
        label=label,
        confidence=confidence,
        classes=CLASSES,
        probabilities=(confidence, 1 - confidence),
        sketch=sketch((random.normal(size=64) + shift).astype(np.float32)),
        model_name=PROJECT,
        model_version=version,
        node="local",
        timings=Timings(waited_ms=0, decode_ms=0, infer_ms=0, total_ms=0),
    )


def mixed(numbers: Sequence[int], share: float = 0.2, **more: Any) -> list[PredictionCompleted]:
    """Answers of which a share is `defective`, evenly spread."""
    return [answer(n, CLASSES[int((n + 1) * share) > int(n * share)], **more) for n in numbers]


def feedback(number: int, right: bool, version: int = 1) -> FeedbackGiven:
    """A person's word on the answer to picture `number`."""
    image = answer(number).image
    correct = "functional" if right else "defective"
    return FeedbackGiven(
        prediction_id=f"p-{number}",
        image=image,
        predicted="functional",
        correct=correct,
        given_by="ines",
        model_version=version,
    )


@dataclass
class Memory:
    """Bus and bucket. `dies_before` counts side effects down; at 0 the process is gone before the next one."""

    stored: list[tuple[Event, Envelope]] = field(default_factory=list)
    states: dict[str, tuple[Watched, int]] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)
    time: datetime = START
    dies_before: int = -1

    def now(self) -> datetime:
        return self.time

    def tell(self, *events: Event) -> None:
        """Said by somebody else, a second after the other."""
        for event in events:
            self.time += timedelta(seconds=1)
            id_ = f"id-{len(self.stored)}"
            envelope = Envelope.first(event, project=PROJECT, source="/test", id=id_, time=self.time)
            self.stored.append((event, envelope))

    def promote(self, version: int) -> None:
        self.tell(ModelPromoted(version=model_version(version)))

    def define(self, **watch: Any) -> None:
        policy = Watch(**{"reference": 50, "window": 50, **watch})
        self.tell(ProjectDefined(card=ScopeCard(project=PROJECT, data=Data(classes=CLASSES), watch=policy)))

    def said(self, event_type: type[E]) -> list[E]:
        """By the watch, each fact once."""
        found = {envelope.id: event for event, envelope in self.stored if envelope.source == "/services/evaluator"}
        return [event for event in found.values() if isinstance(event, event_type)]

    def _effect(self) -> None:
        if self.dies_before == 0:
            raise Killed
        self.dies_before -= 1

    async def say(self, event: Event, *, project: str, cause: Envelope | None = None) -> Envelope:
        self._effect()
        source = "/services/evaluator"
        if cause:
            envelope = Envelope.caused(event, by=cause, source=source, time=self.time)
        else:
            envelope = Envelope.first(event, project=project, source=source, id=derive_id("x"), time=self.time)
        self.stored.append((event, envelope))
        return envelope

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None:
        found = [(event, envelope) async for event, envelope, _ in self.read(event_type, project)]
        return found[-1] if found else None

    async def read(
        self, event_type: type[E], project: str = "*", *, from_seq: int = 1
    ) -> AsyncIterator[tuple[E, Envelope, int]]:
        for seq, (event, envelope) in enumerate(list(self.stored), 1):
            if isinstance(event, event_type) and seq >= from_seq:
                yield event, envelope, seq

    async def watched(self, project: str) -> tuple[Watched, int]:
        return self.states.get(project, (Watched(), 0))

    async def save(self, project: str, watched: Watched, revision: int) -> int:
        if self.states.get(project, (Watched(), 0))[1] != revision:
            raise Retry("changed by another")
        self._effect()
        # As the bucket has it: JSON.
        self.states[project] = (Watched.model_validate_json(watched.model_dump_json()), revision + 1)
        return revision + 1

    async def reference(self, project: str) -> Reference | None:
        return self.references.get(project)

    async def save_reference(self, project: str, reference: Reference) -> None:
        self._effect()
        self.references[project] = Reference.model_validate_json(reference.model_dump_json())

    def watcher(self) -> Watcher:
        """A process that has just been started."""
        return Watcher(self, self, self.now)
