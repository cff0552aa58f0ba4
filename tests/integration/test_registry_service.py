"""The registry as a process, between a real bus and a real MLflow."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import psutil
import pytest
from mlflow import MlflowClient

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.deployment import DeploymentCompleted
from contracts.events.model import ModelApproved, ModelPromoted, ModelRegistered
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.services.registry.world import evaluation

pytestmark = pytest.mark.integration

# The message that the killed registry had is handed out again after the durable's ack_wait of 30 s.
WAIT_S = 60.0

E = TypeVar("E", bound=Event)


@pytest.fixture
async def client(nats_url: str, tmp_path: Path) -> AsyncIterator[Client]:
    settings = Settings(nats_url=nats_url, blobs_root=str(tmp_path / "blobs"))
    connection = await connect(settings, "test")
    await provision(connection)
    await connection.close()
    async with Client.connect(settings, "test") as client:
        yield client


@asynccontextmanager
async def running_registry(nats_url: str, mlflow_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**os.environ, "LOOPLINE_NATS_URL": nats_url, "LOOPLINE_MLFLOW_URL": mlflow_url}
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
