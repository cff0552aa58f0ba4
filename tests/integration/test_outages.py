"""MLflow, Label Studio, Triton or the blob store is away: what needs it waits, the rest goes on, and it catches up."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from mlflow import MlflowClient

from contracts.envelope import Envelope
from contracts.events.base import ImageRef
from contracts.events.deployment import DeploymentCompleted
from contracts.events.evaluation import EvaluationCompleted
from contracts.events.feedback import FeedbackGiven
from contracts.events.image import ImageAdded
from contracts.events.label import LabelSubmitted
from contracts.events.model import ModelPromoted, ModelRegistered
from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingCompleted
from contracts.project import Freeze, Gates, Label, Model, Query
from services.chassis.images import encode_png
from tests.chaos import tiny
from tests.eventually import eventually
from tests.outage import PROJECT, WAIT_S, World, all_running
from tests.services.labeling_sync.real import a_card, browser
from tests.services.predictor.world import inline

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

# What is trained here is judged, and never good enough: each test says itself what passes.
CARD = a_card(PROJECT, *tiny.CLASSES).model_copy(
    update={
        "label": Label(freeze=Freeze(quiet_s=86_400), query=Query(every=1_000, quiet_s=86_400)),
        "gates": Gates(min_test_per_class=1_000),
        "model": Model(parameters={"image_px": 64}),
    }
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Everything, with version 1 of a project served by both nodes."""
    opened: asyncio.Future[World] = asyncio.get_running_loop().create_future()
    ended = asyncio.Event()

    # A fixture's two halves are two tasks, and a service wants to be started and stopped by one.
    async def keep() -> None:
        async with all_running(tmp_path_factory.mktemp("outages")) as found:
            opened.set_result(found)
            await ended.wait()

    kept = asyncio.create_task(keep())
    first: set[asyncio.Future[Any]] = {kept, opened}
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if opened.done():
            world = await opened
            await world.client.say(ProjectDefined(card=CARD), project=PROJECT)
            await world.client.say(world.passed(1), project=PROJECT)
            await promoted(world, 1)
            await world.caught_up()
            yield world
    finally:
        ended.set()
        await kept


async def promoted(world: World, version: int) -> None:
    async def serves() -> None:
        last = await world.client.last(ModelPromoted, PROJECT)
        assert last
        assert last[0].version.version == version

    await eventually(serves, WAIT_S)


async def answers(world: World, said: list[Envelope]) -> list[PredictionCompleted]:
    """The answers to requests, once each has one; none may have failed."""
    found: list[PredictionCompleted] = []

    async def all_are_there() -> None:
        ids = {envelope.id for envelope in said}
        found[:] = [e for e in (await world.said(PredictionCompleted, PROJECT)).values() if e.prediction_id in ids]
        assert {event.prediction_id for event in found} == ids

    await eventually(all_are_there, WAIT_S)
    assert len(found) == len(said)
    failed = (await world.said(PredictionFailed, PROJECT)).values()
    assert not {event.prediction_id for event in failed} & {envelope.id for envelope in said}
    return found


async def request(world: World, *requests: PredictionRequested) -> list[Envelope]:
    return [await world.client.say(one, project=PROJECT) for one in requests]


def pictures(first: int, count: int) -> list[PredictionRequested]:
    return [inline(tiny.encoded(number % 2, number)) for number in range(first, first + count)]


async def refused(world: World, number: int) -> str:
    """Why an ask has no answer."""
    answer = await world.client.predict(PROJECT, *pictures(number, 1))
    assert isinstance(answer, PredictionFailed)
    return answer.reason


async def test_without_mlflow_and_label_studio_predictions_go_on_and_the_rest_catches_up(world: World) -> None:
    approved, version = world.passed(2), world.dataset(2)
    images = [world.picture(number) for number in range(100, 103)]
    await asyncio.gather(world.servers["mlflow"].stop(), world.servers["label-studio"].stop())
    judged = await world.client.say(approved, project=PROJECT)
    frozen = await world.client.say(version, project=PROJECT)
    labelled = [
        await world.client.say(ImageAdded(image=image, label="upper", labelled_by="import"), project=PROJECT)
        for image in images
    ]
    correction = FeedbackGiven(
        prediction_id="p1", image=images[0], predicted="upper", correct="lower", given_by="ines", model_version=1
    )
    corrected = await world.client.say(correction, project=PROJECT)

    await answers(world, await request(world, *pictures(200, 20)))
    assert isinstance(await world.client.predict(PROJECT, *pictures(220, 1)), PredictionCompleted)
    mlflow = f"MLflow at {world.mlflow_url} does not answer: is it running?"
    studio = f"Label Studio at {world.studio.url} does not answer: is it running?"
    await world.waits("registry-versions", [judged], mlflow)
    await world.waits("trainer-training", [frozen], mlflow)
    await world.waits("labeling-sync-images", labelled, studio)
    await world.waits("labeling-sync-feedback", [corrected], studio)
    assert (await world.services["registry"].health.state())["mlflow"] == mlflow
    assert (await world.services["labeling-sync"].health.state())["label-studio"] == studio
    assert await world.client.dead_count() == 0

    await asyncio.gather(world.servers["mlflow"].start(), world.servers["label-studio"].start())
    await promoted(world, 2)
    await world.caught_up()
    runs = MlflowClient(world.mlflow_url)
    experiment = runs.get_experiment_by_name(PROJECT)
    assert experiment
    ours = [run for run in runs.search_runs([experiment.experiment_id]) if "loopline.claim" in run.data.tags]
    assert [(run.info.status, run.data.tags["loopline.dataset"]) for run in ours] == [("FINISHED", version.dataset_id)]
    assert len(await world.said(TrainingCompleted, PROJECT)) == 1
    made = sorted(str(one.run_id) for one in runs.search_model_versions(f"name = '{PROJECT}'"))
    registered = await world.said(ModelRegistered, PROJECT)
    assert made == sorted(event.version.run_id for event in registered.values())
    assert len(made) == 2
    await labels_are_there(world, images, 4)


async def labels_are_there(world: World, images: list[ImageRef], labels: int) -> None:
    """Each image has one task, and there are so many annotations on them, each said once."""
    async with browser(world.studio) as api:
        projects = (await api.get("/api/projects/", params={"title": f"loopline:{PROJECT}"})).json()["results"]
        tasks = await tasks_of(api, projects[0]["id"])
    assert sorted(task["data"]["sha256"] for task in tasks) == sorted(image.sha256 for image in images)
    annotations = sorted(one["id"] for task in tasks for one in task["annotations"])
    assert len(annotations) == labels

    async def are_said() -> None:
        said = (await world.said(LabelSubmitted, PROJECT)).values()
        assert sorted(event.annotation_id for event in said) == annotations

    await eventually(are_said, WAIT_S)


async def tasks_of(api: httpx.AsyncClient, project_id: int) -> list[dict[str, Any]]:
    found = await api.get("/api/tasks/", params={"project": project_id, "page_size": 100, "fields": "all"})
    return list(found.json()["tasks"])


async def test_one_node_of_two_is_enough_and_with_none_requests_wait_for_their_answers(world: World) -> None:
    a, b = world.servers["a"], world.servers["b"]
    a.freeze()
    frozen = await answers(world, await request(world, *pictures(300, 20)))
    assert {answer.node for answer in frozen} == {"b"}
    a.thaw()
    await a.stop()
    gone = await answers(world, await request(world, *pictures(320, 20)))
    assert {answer.node for answer in gone} == {"b"}
    assert (await world.services["predictor"].health.state())["triton"] == "ok"
    assert "node a at" in (await world.services["deployer"].health.state())["triton"]

    await b.stop()
    waiting = await request(world, *pictures(340, 3))
    await world.waits("predictor-requests", waiting, "no Triton node answers for outages-v")
    assert "no Triton node answers for outages-v" in await refused(world, 350)
    assert "no Triton node answers" in (await world.services["predictor"].health.state())["triton"]
    await asyncio.gather(a.start(), b.start())
    await answers(world, waiting)
    await world.caught_up()


async def test_without_the_blob_store_all_who_need_it_wait_and_nobody_makes_another(world: World) -> None:
    approved, candidate, version = world.passed(3), world.trained(4), world.dataset(5)
    seen, added = world.picture(400), world.picture(401)
    away = world.blobs.with_name("away")
    world.blobs.rename(away)
    by_uri = PredictionRequested(image_uri=seen.uri)
    requested = await request(world, by_uri, *pictures(410, 2))
    judged = await world.client.say(approved, project=PROJECT)
    completed = await world.client.say(candidate, project=PROJECT)
    frozen = await world.client.say(version, project=PROJECT)
    labelled = await world.client.say(ImageAdded(image=added, label="upper"), project=PROJECT)
    why = f"the folder {world.blobs} of the blob store is not there"
    await world.waits("predictor-requests", requested, why)
    await world.waits("evaluator-judging", [completed], why)
    await world.waits("trainer-training", [frozen], why)
    await world.waits("labeling-sync-images", [labelled], why)
    rollouts = [envelope async for _, envelope, _ in world.client.read(ModelRegistered, PROJECT)]
    assert judged.id in {envelope.causation_id for envelope in rollouts}
    assert why in await refused(world, 420)
    assert not world.blobs.exists()
    assert await world.client.dead_count() == 0

    away.rename(world.blobs)
    await answers(world, requested)
    await promoted(world, 3)
    await world.caught_up()
    verdicts = [event.run_id for event in (await world.said(EvaluationCompleted, PROJECT)).values()]
    assert verdicts.count(candidate.run_id) == 1
    plans = [event.plan.dataset_id for event in (await world.said(TrainingCompleted, PROJECT)).values()]
    assert plans.count(version.dataset_id) == 1
    deployed = (await world.said(DeploymentCompleted, PROJECT)).values()
    assert sorted(event.version.version for event in deployed) == [1, 2, 3]


async def test_a_blob_store_that_cannot_be_written_is_waited_for(world: World) -> None:
    pixels = [tiny.picture(0, number) for number in range(500, 600)]
    encoded = next(data for data in map(encode_png, pixels) if not folder_of(world, data).exists())
    # As root may write everywhere, a file stands where the folder of this blob is to be.
    folder_of(world, encoded).write_bytes(b"")
    (waiting,) = await request(world, inline(encoded))
    await world.waits("predictor-requests", [waiting], f"the blob store at {world.blobs} does not answer")
    folder_of(world, encoded).unlink()
    (answer,) = await answers(world, [waiting])
    assert world.client.blobs.read(answer.image.uri) == encoded
    await world.caught_up()


def folder_of(world: World, data: bytes) -> Path:
    return world.blobs / hashlib.sha256(data).hexdigest()[:2]
