"""A trainer that dies in mid-work: another replica takes over what it did, and goes on from there."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from mlflow import MlflowClient

from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingCompleted, TrainingStarted
from contracts.project import Data, ScopeCard
from contracts.topology import consumer
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.manifests import two_corners

pytestmark = pytest.mark.integration

CLASSES = ("upper", "lower")
IMAGES = 160
SPLITS = {"train": 60, "validation": 10, "test": 10}


@asynccontextmanager
async def trainers(
    count: int, settings: Settings, mlflow_url: str
) -> AsyncIterator[dict[int, asyncio.subprocess.Process]]:
    """So many trainer processes, by process id."""
    environment = {
        **os.environ,
        "LOOPLINE_NATS_URL": settings.nats_url,
        "LOOPLINE_BLOBS_ROOT": settings.blobs_root,
        "LOOPLINE_KEPT_ROOT": settings.kept_root,
        "LOOPLINE_MLFLOW_URL": mlflow_url,
    }
    command = (sys.executable, "-m", "services.trainer")
    made = [await asyncio.create_subprocess_exec(*command, env=environment) for _ in range(count)]
    try:
        yield {process.pid: process for process in made}
    finally:
        for process in made:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def test_another_replica_takes_over_a_training_and_repeats_nothing(
    nats_url: str, mlflow_url: str, tmp_path: Path
) -> None:
    settings = Settings(nats_url=nats_url, blobs_root=str(tmp_path / "blobs"), kept_root=str(tmp_path / "kept"))
    await asyncio.to_thread(Path(settings.blobs_root).mkdir)
    connection = await connect(settings, "provisioning")
    await provision(connection)
    await connection.close()
    project = f"takeover-{uuid4().hex[:8]}"

    def kept() -> dict[str, int]:
        """Features computed so far, and when."""
        return {str(path): path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*/??/*")}

    async with Client.connect(settings) as client, trainers(2, settings, mlflow_url) as running:
        card = ScopeCard(project=project, data=Data(classes=CLASSES))
        dataset = DatasetVersioned(
            dataset_id=uuid4().hex[:16],
            number=1,
            manifest=two_corners(client.blobs, **SPLITS),
            classes=CLASSES,
            counts=tuple(ClassCount(label=label, **SPLITS) for label in CLASSES),
            labels=IMAGES,
            new_labels=IMAGES,
        )
        await client.say(ProjectDefined(card=card), project=project)
        await client.say(dataset, project=project)

        async def is_in_mid_work() -> None:
            assert 16 <= len(kept()) < IMAGES

        await eventually(is_in_mid_work, timeout_s=60, every_s=0.02)
        started = await client.last(TrainingStarted, project)
        assert started
        first = int(started[0].trainer.rpartition("/")[2])
        running[first].kill()
        await running[first].wait()
        before = kept()
        assert len(before) < IMAGES, "the first trainer was killed too late for this test to say anything"

        async def is_taken_over() -> None:
            begun = [event async for event, _, _ in client.read(TrainingStarted, project)]
            completed = [event async for event, _, _ in client.read(TrainingCompleted, project)]
            assert (len(begun), len(completed)) == (1, 1)
            assert [state for state in await client.consumers() if state.unacked and "trainer" in state.durable] == []

        # The claim is free again once the keep-alive of the dead has been missing for this long.
        assert consumer("trainer-training").ack_wait_s <= 30
        await eventually(is_taken_over, timeout_s=90)
        after = kept()
        assert {path: after[path] for path in before} == before
        assert await client.dead_count() == 0
    runs = MlflowClient(mlflow_url)
    experiment = runs.get_experiment_by_name(project)
    assert experiment
    assert [run.info.status for run in runs.search_runs([experiment.experiment_id])] == ["FINISHED"]
