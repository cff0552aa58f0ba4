"""The registry as a process, between a real bus and a real MLflow."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.deployment import DeploymentCompleted
from contracts.events.model import ModelApproved, ModelDemoted, ModelPromoted, ModelRegistered, ModelVersion
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingCompleted, TrainingFailed
from contracts.project import Data, ScopeCard
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.said import versioned
from tests.services.registry.world import evaluation
from tests.signing import trusted

pytestmark = pytest.mark.integration

# The message that the killed registry had is handed out again after the durable's ack_wait of 30 s.
WAIT_S = 60.0

E = TypeVar("E", bound=Event)


@pytest.fixture
async def client(nats_url: str, tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "blobs").mkdir()
    settings = Settings(nats_url=nats_url, blobs_root=str(tmp_path / "blobs"))
    connection = await connect(settings, "test")
    await provision(connection)
    await connection.close()
    async with Client.connect(settings, "test") as client:
        yield client


@asynccontextmanager
async def running_registry(
    nats_url: str, mlflow_url: str, blobs_root: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **os.environ,
        "LOOPLINE_NATS_URL": nats_url,
        "LOOPLINE_MLFLOW_URL": mlflow_url,
        "LOOPLINE_BLOBS_ROOT": blobs_root,
        "LOOPLINE_MLFLOW_LOOK_PERIOD_S": "0.5",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.registry", env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def test_verdict_and_rollout_survive_a_kill_as_one_version_and_one_promotion(
    client: Client, nats_url: str, mlflow_url: str
) -> None:
    mlflow = MlflowClient(mlflow_url)
    project = f"p-{uuid4().hex[:12]}"
    run_id = mlflow.create_run("0").info.run_id
    judged = await client.say(evaluation(run_id=run_id), project=project)
    async with running_registry(nats_url, mlflow_url) as process:
        await _until_registered(mlflow, project)
        process.kill()
        await process.wait()
    async with running_registry(nats_url, mlflow_url) as process:
        approved, why = await _said(client, ModelApproved, project)
        assert why.correlation_id == judged.correlation_id
        deployed = DeploymentCompleted(version=approved.version, checks=())
        await client.say(deployed, project=project, cause=why)
        promoted, _ = await _said(client, ModelPromoted, project)
        megabytes = psutil.Process(process.pid).memory_info().rss / 2**20
        assert megabytes < 250
        print(f"registry: {megabytes:.0f} MB")
    assert (promoted.version, promoted.previous_version) == (approved.version, None)
    assert [v.version async for v, _, _ in client.read(ModelApproved, project)] == [approved.version]
    assert [v.version async for v, _, _ in client.read(ModelRegistered, project)] == [approved.version]
    assert [int(v.version) for v in mlflow.search_model_versions(f"name = '{project}'")] == [1]
    assert mlflow.get_model_version_by_alias(project, "champion").run_id == run_id


async def test_a_version_brought_by_hand_is_judged_before_it_serves_and_gives_way_when_it_is_demoted(
    client: Client, nats_url: str, mlflow_url: str, tmp_path: Path
) -> None:
    mlflow = MlflowClient(mlflow_url)
    project = f"p-{uuid4().hex[:12]}"
    card = ScopeCard(project=project, data=Data(classes=("functional", "defective")))
    await client.say(ProjectDefined(card=card), project=project)
    dataset = versioned(1)
    await client.say(dataset, project=project)

    def brought(files: dict[str, bytes]) -> str:
        """A run of somebody's own, registered by hand and made the champion."""
        run = mlflow.create_run("0").info
        for file, data in files.items():
            (tmp_path / file).write_bytes(data)
            mlflow.log_artifact(run.run_id, str(tmp_path / file))
        with suppress(MlflowException):
            mlflow.create_registered_model(project)
        made = mlflow.create_model_version(project, f"{run.artifact_uri}/model.pt", run.run_id)
        mlflow.set_registered_model_alias(project, "champion", made.version)
        return str(run.run_id)

    async def champion() -> int | None:
        aliases = (await asyncio.to_thread(mlflow.get_registered_model, project)).aliases
        return int(aliases["champion"]) if "champion" in aliases else None

    async def champion_is(version: int | None) -> None:
        async def as_it_should_be() -> None:
            assert await champion() == version

        await eventually(as_it_should_be, WAIT_S)

    async def passes_and_is_deployed(trained: TrainingCompleted, replaces: int | None) -> ModelVersion:
        """As the evaluator and the deployer would."""
        verdict = evaluation(run_id=trained.run_id).model_copy(update={"model": trained.model, "plan": trained.plan})
        judged = await client.say(verdict, project=project)

        async def approved() -> None:
            found = await client.last(ModelApproved, project)
            assert found
            assert found[1].causation_id == judged.id

        await eventually(approved, WAIT_S)
        approval, why = await _said(client, ModelApproved, project)
        done = DeploymentCompleted(version=approval.version, checks=(), replaces=replaces)
        await client.say(done, project=project, cause=why)
        await champion_is(approval.version.version)
        return approval.version

    async with running_registry(nats_url, mlflow_url, client.settings.blobs_root):
        first = await asyncio.to_thread(brought, {"model.pt": b"first", "golden.npz": b"answers"})
        await champion_is(None)
        trained, _ = await _said(client, TrainingCompleted, project)
        assert (trained.run_id, trained.plan.dataset_id) == (first, dataset.dataset_id)
        assert client.blobs.read(trained.model.file.uri) == b"first"
        one = await passes_and_is_deployed(trained, None)
        trusted().check(one)
        assert one.version == 1, "the version that somebody made is the one that serves"
        tags = mlflow.get_model_version(project, "1").tags
        assert (tags["loopline.approved_by"], tags["loopline.evaluation"]) == ("gates", one.evaluation_id)

        await asyncio.to_thread(brought, {"golden.npz": b"answers"})
        await champion_is(1)
        failed, _ = await _said(client, TrainingFailed, project)
        assert "version 2 of" in failed.reason
        assert "has no artifact model.pt (TorchScript): log it there" in failed.reason

        await asyncio.to_thread(brought, {"model.pt": b"third", "golden.npz": b"answers"})
        await champion_is(1)

        async def third_is_said() -> None:
            found = await client.last(TrainingCompleted, project)
            assert found
            assert client.blobs.read(found[0].model.file.uri) == b"third"

        await eventually(third_is_said, WAIT_S)
        third = await passes_and_is_deployed((await _said(client, TrainingCompleted, project))[0], 1)
        assert third.version == 3

        demoted = ModelDemoted(version=third, demoted_by="ines", why="false alarms")
        no = await client.say(demoted, project=project)

        async def put_back() -> None:
            found = await client.last(ModelApproved, project)
            assert found
            assert (found[0].version, found[0].instead_of, found[1].causation_id) == (one, 3, no.id)

        await eventually(put_back, WAIT_S)
        _, why = await _said(client, ModelApproved, project)
        back = DeploymentCompleted(version=one, checks=(), replaces=3)
        await client.say(back, project=project, cause=why)
        await champion_is(1)

        async def no_way_back() -> None:
            aliases = (await asyncio.to_thread(mlflow.get_registered_model, project)).aliases
            assert "previous" not in aliases, "it would be what was demoted"

        await eventually(no_way_back, WAIT_S)
    assert mlflow.get_model_version(project, "3").tags["loopline.demoted_by"] == "ines"


async def _until_registered(mlflow: MlflowClient, project: str) -> None:
    """Return the moment MLflow has a version: the registry has its claim still to finish, its facts still to say."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if await asyncio.to_thread(mlflow.search_model_versions, f"name = '{project}'"):
                return
            await asyncio.sleep(0.005)


async def _said(client: Client, event_type: type[E], project: str) -> tuple[E, Envelope]:
    async with asyncio.timeout(WAIT_S):
        while True:
            if found := await client.last(event_type, project):
                return found
            await asyncio.sleep(0.1)
