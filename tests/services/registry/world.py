"""The surroundings of the registry, in memory."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeVar

from contracts.envelope import Envelope, derive_id
from contracts.events.base import BlobRef, Event
from contracts.events.deployment import DeploymentCompleted
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed, GateResult, Interval, Metrics
from contracts.events.model import ModelApproved, ModelDemoted, ModelRejected, ModelVersion
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainedModel, TrainingPlan
from contracts.project import Data, Gates, ScopeCard
from services.chassis.errors import Busy
from services.chassis.heard import Heard
from services.chassis.signing import Signer
from services.registry.by_hand import Look
from services.registry.domain import Aliases
from services.registry.handlers import (
    on_deployment_completed,
    on_evaluation_completed,
    on_evaluation_failed,
    on_model_demoted,
    on_model_rejected,
)
from services.registry.ports import NoSuchRun, NoSuchVersion, StoredRun, StoredVersion
from tests.signing import keys

E = TypeVar("E", bound=Event)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Crash(BaseException):
    """The process is killed here."""


@dataclass
class Versions:
    """MLflow's registry in memory, of one project; `dies_after` names a call after which the process is gone."""

    made: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    runs: set[str] = field(default_factory=lambda: {"run-1", "run-2"})
    run_tags: dict[str, str] = field(default_factory=lambda: {"mlflow.source.git.commit": "9c1e7f2"})
    parameters: dict[str, str] = field(default_factory=lambda: {"lr": "0.1"})
    datasets: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    notes: dict[int, dict[str, str]] = field(default_factory=dict)
    dies_after: str = ""

    async def find(self, project: str, run_id: str, model_sha256: str) -> tuple[int, dict[str, str]] | None:
        for number, (_, run, tags) in enumerate(self.made, 1):
            if run == run_id and tags.get("loopline.model_sha256") == model_sha256:
                return number, tags
        return None

    async def brought(self, project: str, run_id: str) -> int | None:
        found = (
            number for number, (_, run, tags) in enumerate(self.made, 1) if run == run_id and "loopline.run" not in tags
        )
        return next(found, None)

    async def run(self, run_id: str) -> StoredRun:
        if run_id not in self.runs:
            raise NoSuchRun(f"MLflow has no run {run_id}")
        return StoredRun(tags=self.run_tags, parameters=self.parameters, datasets=self.datasets, seconds=12.5)

    async def tag(self, project: str, version: int, tags: Mapping[str, str]) -> None:
        if version in self.gone:
            raise NoSuchVersion(f"MLflow has no version {version} of {project}")
        if version <= len(self.made):
            self.made[version - 1][2].update(tags)
        self.notes.setdefault(version, {}).update(tags)
        self._die("tag")

    async def version(self, project: str, number: int) -> StoredVersion:
        if number > len(self.made):
            raise NoSuchVersion(f"MLflow has no version {number} of {project}")
        _, run, tags = self.made[number - 1]
        return StoredVersion(number, run, tags)

    async def artifacts(self, run_id: str) -> frozenset[str]:
        return frozenset(self.files)

    async def artifact(self, run_id: str, name: str) -> bytes:
        return self.files[name]

    async def all_aliases(self) -> Mapping[str, Mapping[str, int]]:
        return {"broken": dict(self.held), "solar": dict(self.held), "another-team": {"champion": 9}}

    async def drop_alias(self, project: str, alias: str) -> None:
        self.held.pop(alias, None)

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
    source = "/services/registry"

    def now(self) -> datetime:
        return NOW

    async def send(self, event: Event, envelope: Envelope) -> Envelope:
        if envelope.id not in {known.id for _, known in self.facts}:
            self.facts.append((event, envelope))
        return envelope

    async def read(self, event_type: type[E], project: str) -> AsyncIterator[tuple[E, Envelope, int]]:
        for seq, (event, envelope) in enumerate(self.facts, 1):
            if isinstance(event, event_type) and envelope.project == project:
                yield event, envelope, seq

    def all(self, event_type: type[E]) -> list[E]:
        return [event for event, _ in self.facts if isinstance(event, event_type)]

    def say(self, event: Event, cause: Envelope) -> Envelope:
        envelope = Envelope.caused(event, by=cause, source="/test", time=NOW)
        self.facts.append((event, envelope))
        return envelope

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None:
        for event, envelope in reversed(self.facts):
            if isinstance(event, event_type) and envelope.project == project:
                return event, envelope
        return None


class Files:
    """The blob store, which only names what it is given."""

    async def put(self, data: bytes, suffix: str) -> BlobRef:
        digest = sha256(data).hexdigest()
        return BlobRef(uri=f"blob://{digest}.{suffix}", sha256=digest, size_bytes=len(data))


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
            event,
            Heard(envelope, owner),
            versions=self.versions,
            claims=self.claims,
            said=self.bus,
            signer=Signer(str(keys().private)),
        )
        for fact in facts if say else ():
            self.bus.say(fact, envelope)
        return facts

    async def could_not_be_judged(self, run_id: str, reason: str) -> list[Event]:
        event = EvaluationFailed(run_id=run_id, model_sha256="a" * 64, reason=reason)
        return await on_evaluation_failed(event, Heard(_envelope(event, "failed"), "LOOP:1"), versions=self.versions)

    def says(self, event: E, cause: Envelope | None = None) -> tuple[E, Envelope]:
        """Somebody else says something."""
        envelope = _envelope(event, f"{event.name()}-{len(self.bus.facts)}")
        envelope = replace(envelope, causation_id=cause.id if cause else None)
        self.bus.facts.append((event, envelope))
        return event, envelope

    def defined(self, approval: str = "gates") -> None:
        gates = Gates.model_validate({"approval": approval})
        card = ScopeCard(project="solar", data=Data(classes=("functional", "defective")), gates=gates)
        self.says(ProjectDefined(card=card))

    def deployed(
        self, version: int, replaces: int | None, cause: Envelope | None = None
    ) -> tuple[DeploymentCompleted, Envelope]:
        return self.says(DeploymentCompleted(version=model_version(version), checks=(), replaces=replaces), cause)

    async def served(self, *versions: int) -> None:
        """These were deployed and promoted, one after the other."""
        for before, version in zip((None, *versions), versions, strict=False):
            await self.hears(self.deployed(version, before))

    async def demoted(self, version: int) -> list[Event]:
        event, envelope = self.says(ModelDemoted(version=model_version(version), demoted_by="ines", why="false alarms"))
        facts = await on_model_demoted(event, Heard(envelope, "LOOP:1"), versions=self.versions, said=self.bus)
        for fact in facts:
            self.bus.say(fact, envelope)
        return facts

    async def rejected(self, version: int) -> list[Event]:
        event, envelope = self.says(ModelRejected(version=model_version(version), rejected_by="ines", why="dust"))
        return await on_model_rejected(event, Heard(envelope, "LOOP:1"), versions=self.versions, said=self.bus)

    def approved(self, version: int, by: str = "ines") -> tuple[ModelApproved, Envelope]:
        return self.says(ModelApproved(version=model_version(version), approved_by=by, why="looked at it"))

    async def looks(self) -> None:
        """One look at everything; nothing is defined but `solar`."""
        await Look(self.versions, self.bus, Files())()

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
            "champion_version": 6,
            "manifest": blob("c"),
            "run_id": run_id,
            "model": MODEL,
        }
    )
