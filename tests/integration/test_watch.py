"""The watch of two evaluators, between a real bus and those who ask it what drifts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.events.base import Event
from contracts.events.drift import DriftDetected
from contracts.events.model import ModelPromoted
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingRequested
from contracts.project import Data, ScopeCard, Watch
from contracts.topology import WATCHED
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.evaluator.app import build
from services.evaluator.job import Compared, Job
from services.evaluator.settings import EvaluatorSettings
from tests.eventually import eventually
from tests.said import CLASSES, model_version
from tests.services.evaluator.watching import feedback, mixed
from webapp.read_models.drift import drifting

pytestmark = pytest.mark.integration


class _NoModels:
    async def compare(self, job: Job) -> Compared:
        raise AssertionError("nothing is judged here")


@pytest.fixture
async def client(nats_url: str, tmp_path: Path) -> AsyncIterator[Client]:
    settings = Settings(nats_url=nats_url, blobs_root=str(tmp_path / "blobs"))
    connection = await connect(settings, "test")
    await provision(connection)
    await connection.close()
    async with Client.connect(settings, "test") as client:
        yield client


@asynccontextmanager
async def evaluators(client: Client, count: int) -> AsyncIterator[None]:
    """So many in one process: to the lease they are one, so that all of them look, and only the state keeps order."""
    async with AsyncExitStack() as running:
        for _ in range(count):
            settings = EvaluatorSettings(
                nats_url=client.settings.nats_url, blobs_root=client.settings.blobs_root, watch_period_s=0.2
            )
            await running.enter_async_context(build(settings, _NoModels()).app().start_lifespan_context())
        yield


async def _say_all(client: Client, project: str, events: Sequence[Event]) -> None:
    await asyncio.gather(*(client.say(event, project=project) for event in events))


async def test_drift_is_said_once_by_two_replicas_and_by_those_that_come_after_them(client: Client) -> None:
    project = f"p-{uuid4().hex[:12]}"
    policy = Watch(reference=60, window=60, accuracy=0.9, judged=20, retrain="when-drifting")
    await client.say(
        ProjectDefined(card=ScopeCard(project=project, data=Data(classes=CLASSES), watch=policy)), project=project
    )
    await client.say(ModelPromoted(version=model_version(1)), project=project)

    async def said(event_type: type[Event]) -> list[Event]:
        found = {envelope.id: event async for event, envelope, _ in client.read(event_type, project)}
        return list(found.values())

    async def looked(answers: int, new: int = 0) -> None:
        state = await client.bucket(WATCHED).get(f"state.{project}")
        assert state
        assert (state[0]["reference"], state[0]["waiting"], state[0]["plan"]) == (60, new, None)
        kinds = {look["kind"] for look in state[0]["looks"]}
        assert kinds >= {"inputs", "classes", "confidence"} if answers else not kinds

    async with evaluators(client, 2):
        await _say_all(client, project, mixed(range(60)))
        await eventually(lambda: looked(0), 30)
        await _say_all(client, project, mixed(range(100, 160)))
        await eventually(lambda: looked(60), 30)
        assert await said(DriftDetected) == []
        await _say_all(client, project, mixed(range(200, 260), shift=2.0))

        async def is_said() -> None:
            assert [getattr(one, "kind", "") for one in await said(DriftDetected)] == ["inputs"]
            assert len(await said(TrainingRequested)) == 1

        await eventually(is_said, 30)
        await _say_all(client, project, mixed(range(300, 330), shift=2.0))
        await eventually(lambda: looked(60, new=30), 30)
    # Others go on with the window that these had begun.
    async with evaluators(client, 2):
        await _say_all(client, project, mixed(range(330, 360), shift=2.0))
        await eventually(lambda: looked(60), 30)
        await is_said()
        for number in range(20):
            await client.say(feedback(number, right=number % 2 == 0), project=project)

        async def accuracy_is_said() -> None:
            kinds = [getattr(one, "kind", "") for one in await said(DriftDetected)]
            assert kinds == ["inputs", "accuracy"]

        await eventually(accuracy_is_said, 30)
        assert len(await said(TrainingRequested)) == 1
        shown = await drifting(client)
        assert {(one.project, one.version, one.kind) for one in shown if one.project == project} == {
            (project, 1, "inputs"),
            (project, 1, "accuracy"),
        }
    assert await client.dead_count() == 0
