"""Somebody cancels a training while two trainers run: the one that has it stops, whoever is asked next trains."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from mlflow import MlflowClient

from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingCancelled, TrainingCompleted, TrainingRequested, TrainingStarted
from contracts.project import Data, ScopeCard
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.integration.test_trainer_takeover import trainers
from tests.manifests import two_corners

pytestmark = pytest.mark.integration

CLASSES = ("upper", "lower")
SPLITS = {"train": 60, "validation": 10, "test": 10}


async def test_a_training_in_work_is_stopped_by_an_event_and_asked_for_again_it_goes_on(
    nats_url: str, mlflow_url: str, tmp_path: Path
) -> None:
    settings = Settings(nats_url=nats_url, blobs_root=str(tmp_path / "blobs"), kept_root=str(tmp_path / "kept"))
    await asyncio.to_thread(Path(settings.blobs_root).mkdir)
    connection = await connect(settings, "provisioning")
    await provision(connection)
    await connection.close()
    project = f"cancelled-{uuid4().hex[:8]}"
    mlflow = MlflowClient(mlflow_url)

    def runs() -> list[str]:
        experiment = mlflow.get_experiment_by_name(project)
        return [run.info.status for run in mlflow.search_runs([experiment.experiment_id])] if experiment else []

    async with Client.connect(settings) as client, trainers(2, settings, mlflow_url):
        dataset = DatasetVersioned(
            dataset_id=uuid4().hex[:16],
            number=1,
            manifest=two_corners(client.blobs, **SPLITS),
            classes=CLASSES,
            counts=tuple(ClassCount(label=label, **SPLITS) for label in CLASSES),
            labels=160,
            new_labels=160,
        )
        await client.say(ProjectDefined(card=ScopeCard(project=project, data=Data(classes=CLASSES))), project=project)
        await client.say(dataset, project=project)

        async def is_in_mid_work() -> None:
            assert list((tmp_path / "kept").rglob("*/??/*"))
            assert await asyncio.to_thread(runs) == ["RUNNING"]

        await eventually(is_in_mid_work, timeout_s=120, every_s=0.02)
        started = await client.last(TrainingStarted, project)
        assert started
        cancel = TrainingCancelled(plan=started[0].plan, reason="wrong lamp")
        await client.say(cancel, project=project, cause=started[1])

        async def is_cancelled() -> None:
            said = [event.reason async for event, _, _ in client.read(TrainingCancelled, project)]
            assert said == ["wrong lamp", "cancelled by cli: wrong lamp"]
            assert await asyncio.to_thread(runs) == ["KILLED"]
            assert [state for state in await client.consumers() if state.unacked and "trainer" in state.durable] == []

        await eventually(is_cancelled, timeout_s=60)
        assert await client.last(TrainingCompleted, project) is None

        await client.say(TrainingRequested(), project=project)

        async def is_completed() -> None:
            assert await client.last(TrainingCompleted, project)
            assert await asyncio.to_thread(runs) == ["FINISHED"]

        await eventually(is_completed, timeout_s=120)
        assert await client.dead_count() == 0
