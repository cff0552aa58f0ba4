"""Where a project's loop stands, in four steps: dataset, training, verdict, what serves."""

from dataclasses import dataclass

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.dataset import DatasetRejected, DatasetVersioned
from contracts.events.deployment import DeploymentCompleted, DeploymentFailed, DeploymentStarted
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed
from contracts.events.training import (
    TrainingCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingProgressed,
    TrainingStarted,
)
from webapp.read_models.loop import place
from webapp.read_models.telling import Tone, told

TURN_EVENTS: tuple[type[Event], ...] = (
    DatasetVersioned,
    DatasetRejected,
    TrainingStarted,
    TrainingProgressed,
    TrainingCompleted,
    TrainingFailed,
    TrainingCancelled,
    EvaluationCompleted,
    EvaluationFailed,
    DeploymentStarted,
    DeploymentCompleted,
    DeploymentFailed,
)


@dataclass(frozen=True)
class Step:
    """One of the four. `earlier` says that it belongs to a turn before the one under way."""

    name: str
    words: str
    tone: Tone
    earlier: bool = False


@dataclass(frozen=True)
class _Fact:
    event: Event
    envelope: Envelope

    @property
    def place(self) -> tuple[object, ...]:
        return place(self.event, self.envelope)


class Turn:
    """Keeps the newest fact of each step. Facts may come twice and in any order."""

    def __init__(self) -> None:
        self._newest: dict[str, _Fact] = {}
        self._serving: _Fact | None = None

    def hear(self, event: Event, envelope: Envelope) -> None:
        """Take in a fact; other types than `TURN_EVENTS` are passed over."""
        if not isinstance(event, TURN_EVENTS):
            return
        fact = _Fact(event, envelope)
        entity = event.name().split(".")[0]
        known = self._newest.get(entity)
        if known is None or fact.place >= known.place:
            self._newest[entity] = fact
        if isinstance(event, DeploymentCompleted) and (self._serving is None or fact.place >= self._serving.place):
            self._serving = fact

    def steps(self) -> tuple[Step, ...]:
        """The four steps in order; empty while nothing at all is known."""
        if not self._newest:
            return ()
        latest = max(self._newest.values(), key=lambda fact: fact.envelope.time)
        return (
            self._step("Dataset", "dataset", "none yet"),
            self._step("Training", "training", "not yet", of_turn=latest),
            self._step("Verdict", "evaluation", "not yet", of_turn=latest),
            self._serving_step(),
        )

    def _step(self, name: str, entity: str, missing: str, of_turn: _Fact | None = None) -> Step:
        fact = self._newest.get(entity)
        if fact is None:
            return Step(name, missing, "waiting")
        words, tone = told(fact.event)
        earlier = of_turn is not None and fact.envelope.correlation_id != of_turn.envelope.correlation_id
        return Step(name, words, tone, earlier)

    def _serving_step(self) -> Step:
        serving = self._serving.event if self._serving else None
        now = f"v{serving.version.version}" if isinstance(serving, DeploymentCompleted) else "nothing yet"
        rollout = self._newest.get("deployment")
        match rollout.event if rollout else None:
            case DeploymentStarted(version=version):
                return Step("Serving", f"{now}, rolling out v{version.version}", "busy")
            case DeploymentFailed(version=version, reason=reason):
                return Step("Serving", f"{now}; the rollout of v{version.version} failed: {reason}", "bad")
            case DeploymentCompleted():
                return Step("Serving", now, "good")
        return Step("Serving", now, "waiting")
