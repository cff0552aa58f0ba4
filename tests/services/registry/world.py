"""The surroundings of the registry, in memory."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from contracts.envelope import Envelope, derive_id
from contracts.events.base import BlobRef, Event
from contracts.events.deployment import DeploymentCompleted
from contracts.events.evaluation import EvaluationCompleted, GateResult, Interval, Metrics
from contracts.events.model import ModelVersion
from contracts.events.training import TrainedModel, TrainingPlan
from services.chassis.errors import Busy
from services.chassis.heard import Heard
from services.registry.domain import Aliases
from services.registry.handlers import on_deployment_completed, on_evaluation_completed
from services.registry.ports import NoSuchRun, NoSuchVersion

E = TypeVar("E", bound=Event)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Crash(BaseException):
    """The process is killed here."""


@dataclass
class Versions:
    """MLflow's registry in memory; `dies_after` names a call after which the process is gone."""

    made: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    runs: set[str] = field(default_factory=lambda: {"run-1", "run-2"})
    dies_after: str = ""

    async def find(self, project: str, run_id: str, model_sha256: str) -> tuple[int, dict[str, str]] | None:
        for number, (_, run, tags) in enumerate(self.made, 1):
            if run == run_id and tags["loopline.model_sha256"] == model_sha256:
                return number, tags
        return None

    async def create(self, project: str, run_id: str, tags: dict[str, str], description: str) -> int:
        if run_id not in self.runs:
            raise NoSuchRun(f"MLflow has no run {run_id}")
        self.made.append((project, run_id, tags))
        self._die("create")
        return len(self.made)

    async def aliases(self, project: str) -> Aliases:
        return Aliases(self.held.get("champion"), self.held.get("previous"))

    async def set_alias(self, project: str, alias: str, version: int) -> None:
        if version in self.gone:
            raise NoSuchVersion(f"MLflow has no version {version} of {project}")
        self.held[alias] = version
        self._die(alias)

    def _die(self, call: str) -> None:
        if self.dies_after == call:
            self.dies_after = ""
            raise Crash


@dataclass
class Claims:
    """As the chassis' claims, in memory."""

    held: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def take(self, key: str, owner: str) -> dict[str, Any] | None:
        claim = self.held.setdefault(key, {"owner": owner})
        if "result" in claim:
            return dict(claim["result"])
        if claim["owner"] != owner:
            raise Busy(key)
        return None

    async def finish(self, key: str, owner: str, result: dict[str, Any]) -> None:
        self.held[key] = {"owner": owner, "result": result}

    async def release(self, key: str, owner: str) -> None:
        if "result" not in self.held[key]:
            del self.held[key]


@dataclass
class Bus:
    """What was said, newest last."""

    facts: list[tuple[Event, Envelope]] = field(default_factory=list)

    def say(self, event: Event, cause: Envelope) -> Envelope:
        envelope = Envelope.caused(event, by=cause, source="/test", time=NOW)
        self.facts.append((event, envelope))
        return envelope

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None:
        for event, envelope in reversed(self.facts):
            if isinstance(event, event_type) and envelope.project == project:
                return event, envelope
        return None


@dataclass
class World:
    """The registry's surroundings, and the road that the chassis puts an event on."""

    versions: Versions = field(default_factory=Versions)
    claims: Claims = field(default_factory=Claims)
    bus: Bus = field(default_factory=Bus)

    async def judged(
        self, event: EvaluationCompleted, owner: str = "LOOP:1", id: str = "judged-1", say: bool = True
    ) -> list[Event]:
        envelope = _envelope(event, id)
        facts = await on_evaluation_completed(
            event, Heard(envelope, owner), versions=self.versions, claims=self.claims, said=self.bus
        )
        for fact in facts if say else ():
            self.bus.say(fact, envelope)
        return facts

    def deployed(self, version: int, replaces: int | None) -> tuple[DeploymentCompleted, Envelope]:
        event = DeploymentCompleted(version=model_version(version), checks=(), replaces=replaces)
        self.bus.facts.append((event, _envelope(event, f"deployed-{version}-{len(self.bus.facts)}")))
        return event, self.bus.facts[-1][1]

    async def hears(self, said: tuple[DeploymentCompleted, Envelope], owner: str = "", say: bool = True) -> list[Event]:
        facts = await on_deployment_completed(
            said[0],
            Heard(said[1], owner or f"LOOP:{said[1].id}"),
            versions=self.versions,
            claims=self.claims,
            said=self.bus,
        )
        for fact in facts if say else ():
            self.bus.say(fact, said[1])
        return facts


def _envelope(event: Event, id: str) -> Envelope:
    return Envelope.first(event, project="solar", source="/test", id=derive_id(id), time=NOW)


def blob(digit: str) -> BlobRef:
    return BlobRef(uri=f"blob://{digit * 64}.pt", sha256=digit * 64, size_bytes=1)


MODEL = TrainedModel(file=blob("a"), golden=blob("b"), classes=("functional", "defective"), max_side=320)


def model_version(number: int) -> ModelVersion:
    return ModelVersion(
        name="solar", version=number, model=MODEL, run_id="run-1", dataset_id="0" * 16, dataset_number=number
    )


def evaluation(verdict: str = "passed", run_id: str = "run-1", dataset_number: int = 1) -> EvaluationCompleted:
    number = Interval(value=0.8, low=0.7, high=0.9)
    metrics = Metrics(
        model_sha256="a" * 64,
        test_images=100,
        accuracy=number,
        macro_recall=number,
        roc_auc=number,
        classes=(),
        confusion=(),
    )
    gates = tuple(GateResult(gate=f"floor {i}", passed=True, sentence="good") for i in range(3))
    return EvaluationCompleted.model_validate(
        {
            "verdict": verdict,
            "sentence": "It is good.",
            "gates": gates,
            "candidate": metrics,
            "plan": TrainingPlan(dataset_id="0" * 16, recipe="frozen-features", seed=0),
            "dataset_number": dataset_number,
            "manifest": blob("c"),
            "run_id": run_id,
            "model": MODEL,
        }
    )
