"""Nodes, a bucket and a blob store in memory, which count every step and can die before any of them."""

import hashlib
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.envelope import Envelope, derive_id
from contracts.events.base import BlobRef, Event
from contracts.events.model import ModelApproved, ModelVersion
from contracts.events.training import TrainedModel
from services.chassis.errors import Away, Rejected, Retry
from services.chassis.heard import Heard
from services.deployer.handlers import on_model_approved
from services.deployer.model_config import DIGEST
from services.deployer.ports import ModelRefused
from services.deployer.reconciling import reconcile
from services.deployer.route import Route
from services.deployer.turns import Turns
from tests.signing import signed, trusted

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLASSES = ("functional", "defective")
GOLDEN = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], dtype=np.float32)


class Crash(BaseException):
    """The process was killed."""


@dataclass
class Steps:
    """Counts what is done outside; `dies_before` a step it does not come back."""

    done: int = 0
    dies_before: int | None = None

    def take(self) -> None:
        if self.done == self.dies_before:
            raise Crash
        self.done += 1


def golden_npz(probabilities: NDArray[np.float32] = GOLDEN) -> bytes:
    images = {f"image_{i}": np.full((3, 4 + i, 5), i, dtype=np.uint8) for i in range(len(probabilities))}
    file = io.BytesIO()
    np.savez(file, probabilities=probabilities, **images)  # type: ignore[arg-type]
    return file.getvalue()


@dataclass
class Artifacts:
    files: dict[str, bytes] = field(default_factory=dict)

    def put(self, data: bytes, suffix: str) -> BlobRef:
        digest = hashlib.sha256(data).hexdigest()
        self.files[uri := f"blob://{digest}.{suffix}"] = data
        return BlobRef(uri=uri, sha256=digest, size_bytes=len(data))

    async def read(self, ref: BlobRef) -> bytes:
        if ref.uri not in self.files:
            raise Rejected(f"{ref.uri} is not in the blob store")
        return self.files[ref.uri]


@dataclass
class Nodes:
    """Nodes that answer the golden images as `answers` says for a model file, else rightly."""

    steps: Steps
    loaded: dict[str, dict[str, str]]
    away: set[str] = field(default_factory=set)
    refuses: dict[bytes, str] = field(default_factory=dict)
    answers: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    loads: list[tuple[str, str]] = field(default_factory=list)
    calls_in_vain: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.loaded)

    def _reach(self, node: str) -> None:
        self.steps.take()
        if node in self.away:
            self.calls_in_vain += 1
            raise Away(f"Triton node {node} does not answer")

    async def digest(self, node: str, model: str) -> str | None:
        self._reach(node)
        return self.loaded[node].get(model)

    async def load(self, node: str, config: Mapping[str, Any], file: bytes) -> float:
        self._reach(node)
        if file in self.refuses:
            raise ModelRefused(self.refuses[file])
        self.loads.append((node, config["name"]))
        self.loaded[node][config["name"]] = config["parameters"][DIGEST]["string_value"]
        return 2.5

    async def unload(self, node: str, model: str) -> None:
        self._reach(node)
        self.loaded[node].pop(model, None)

    async def answer(self, node: str, model: str, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self._reach(node)
        return self.answers.get(f"{node}/{model}", GOLDEN)[: len(images)]


@dataclass
class Routes:
    steps: Steps
    kept: dict[str, tuple[Route, int]] = field(default_factory=dict)

    async def projects(self) -> list[str]:
        return sorted(self.kept)

    async def get(self, project: str) -> tuple[Route, int] | None:
        self.steps.take()
        return self.kept.get(project)

    async def put(self, project: str, route: Route, revision: int | None) -> None:
        self.steps.take()
        if self.kept.get(project, (None, None))[1] != revision:
            raise Retry(f"the route of {project} was changed by another deployer")
        self.kept[project] = (Route.model_validate(route.model_dump(mode="json")), (revision or 0) + 1)


@dataclass
class Said:
    """What is stored of the bus, each fact with the id of the event that caused it."""

    steps: Steps
    stored: list[tuple[Event, str]] = field(default_factory=list)

    async def read(self, event_type: type[Any], project: str) -> AsyncIterator[tuple[Any, Envelope, int]]:
        self.steps.take()
        for seq, (event, cause) in enumerate(self.stored, 1):
            if isinstance(event, event_type) and project == "solar":
                envelope = Envelope.first(event, project=project, source="test", id=str(seq), time=_NOW)
                yield event, replace(envelope, causation_id=cause), seq


class World:
    """A deployer in memory."""

    def __init__(self, *nodes: str) -> None:
        self.steps = Steps()
        self.nodes = Nodes(self.steps, {name: {} for name in nodes or ("a", "b")})
        self.routes = Routes(self.steps)
        self.artifacts = Artifacts()
        self.turns = Turns()
        self.bus = Said(self.steps)

    @property
    def said(self) -> list[Event]:
        """All facts that were said, each once however often it was."""
        return [event for event, _ in self.bus.stored]

    def version(self, number: int, project: str = "solar", golden: bytes | None = None) -> ModelVersion:
        return signed(
            ModelVersion(
                name=project,
                version=number,
                model=TrainedModel(
                    file=self.artifacts.put(f"{project} {number}".encode(), "pt"),
                    golden=self.artifacts.put(golden or golden_npz(), "npz"),
                    classes=CLASSES,
                    max_side=320,
                ),
                run_id=f"run-{number}",
                dataset_id="0" * 16,
                dataset_number=number,
            )
        )

    async def approved(self, version: ModelVersion, by: str = "gates", instead_of: int | None = None) -> list[Event]:
        """The facts said about an approval, all of them also in `said`, each once as JetStream keeps them."""
        event = ModelApproved(version=version, approved_by=by, why="all 4 gates passed", instead_of=instead_of)
        envelope = Envelope.first(event, project="solar", source="test", id=derive_id(str(event)), time=_NOW)
        said = []
        async for fact in on_model_approved(
            event,
            Heard(envelope, "LOOP:1"),
            nodes=self.nodes,
            routes=self.routes,
            artifacts=self.artifacts,
            turns=self.turns,
            trust=trusted(),
            said=self.bus,
        ):
            said.append(fact)
            if all((type(other), cause) != (type(fact), envelope.id) for other, cause in self.bus.stored):
                self.bus.stored.append((fact, envelope.id))
        return said

    async def reconciled(self) -> None:
        await reconcile(
            nodes=self.nodes, routes=self.routes, artifacts=self.artifacts, turns=self.turns, trust=trusted()
        )

    @property
    def route(self) -> tuple[int, int | None]:
        """Current and previous version."""
        route = self.routes.kept["solar"][0]
        return route.current.version, route.previous.version if route.previous else None

    @property
    def on_nodes(self) -> dict[str, list[str]]:
        return {node: sorted(models) for node, models in self.nodes.loaded.items()}
