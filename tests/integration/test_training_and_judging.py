"""Trainer and evaluator on the real bus, with their real child processes and a real MLflow."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.evaluation import EvaluationCompleted
from contracts.events.model import ModelPromoted, ModelVersion
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingCompleted, TrainingFailed, TrainingRequested
from contracts.project import Data, Gates, Model, ScopeCard
from services.chassis.blobs import Blobs
from services.chassis.bus import Bus
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.evaluator.app import build as build_evaluator
from services.evaluator.settings import EvaluatorSettings
from services.trainer.app import build as build_trainer
from services.trainer.settings import TrainerSettings
from tests.eventually import eventually
from tests.manifests import two_corners

pytestmark = pytest.mark.integration

E = TypeVar("E", bound=Event)

CLASSES = ("upper", "lower")


@pytest.fixture
def project() -> str:
    return f"corners-{uuid4().hex[:8]}"


@pytest.fixture
def places(nats_url: str, tmp_path: Path) -> dict[str, str]:
    return {"nats_url": nats_url, "blobs_root": str(tmp_path / "blobs"), "kept_root": str(tmp_path / "kept")}


@asynccontextmanager
async def both_running(places: dict[str, str], mlflow_url: str) -> AsyncIterator[Bus]:
    """Both services, and a bus of the test's own. No fixture: they have to stop in the task that started them."""
    connection = await connect(Settings(**places), "test")
    await provision(connection)
    bus = Bus("test")
    bus.attach(connection)
    async with AsyncExitStack() as running:
        for service in (
            build_trainer(TrainerSettings(**places, mlflow_url=mlflow_url)),
            build_evaluator(EvaluatorSettings(**places)),
        ):
            await running.enter_async_context(service.app().start_lifespan_context())
        yield bus
    await connection.close()


async def last(bus: Bus, event_type: type[E], project: str) -> tuple[E, Envelope]:
    found = await bus.last(event_type, project)
    assert found, f"no {event_type.name()} was said"
    return found


async def test_from_a_dataset_version_to_a_verdict_and_against_a_champion(
    places: dict[str, str], mlflow_url: str, project: str
) -> None:
    async with both_running(places, mlflow_url) as bus:
        await _turn_and_again(bus, places, project)


async def _turn_and_again(bus: Bus, places: dict[str, str], project: str) -> None:
    model = Model(parameters={"image_px": 64})
    card = ScopeCard(project=project, data=Data(classes=CLASSES), gates=Gates(), model=model)
    manifest = two_corners(Blobs(places["blobs_root"]))
    dataset = DatasetVersioned(
        dataset_id=uuid4().hex[:16],
        number=1,
        manifest=manifest,
        classes=CLASSES,
        counts=tuple(ClassCount(label=label, train=12, validation=4, test=6) for label in CLASSES),
        labels=44,
        new_labels=44,
    )
    await bus.say(ProjectDefined(card=card), project=project)
    frozen = await bus.say(dataset, project=project)

    async def first_verdict() -> None:
        assert await bus.last(EvaluationCompleted, project)

    await eventually(first_verdict, timeout_s=60)
    verdict, of_verdict = await last(bus, EvaluationCompleted, project)
    assert verdict.verdict == "passed", verdict.sentence
    assert verdict.champion is None
    assert of_verdict.correlation_id == frozen.correlation_id
    trained, _ = await last(bus, TrainingCompleted, project)
    assert verdict.model == trained.model

    version = ModelVersion(
        name=project,
        version=1,
        model=trained.model,
        run_id=trained.run_id,
        dataset_id=dataset.dataset_id,
        dataset_number=1,
    )
    await bus.say(ModelPromoted(version=version), project=project)
    await bus.say(TrainingRequested(parameters={"l2": 1.0}), project=project)

    async def second_verdict() -> None:
        found, _ = await last(bus, EvaluationCompleted, project)
        assert found.champion_version == 1

    await eventually(second_verdict, timeout_s=30)
    verdict, _ = await last(bus, EvaluationCompleted, project)
    assert verdict.champion
    assert verdict.champion.model_sha256 == trained.model.file.sha256
    assert verdict.run_id != trained.run_id

    await bus.say(TrainingRequested(recipe="magic"), project=project)

    async def answered() -> None:
        assert await bus.last(TrainingFailed, project)

    await eventually(answered, timeout_s=10)
    failed, _ = await last(bus, TrainingFailed, project)
    assert "'magic' is not known here" in failed.reason
