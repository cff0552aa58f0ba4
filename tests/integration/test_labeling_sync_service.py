"""labeling-sync as a process, between a real bus and the real Label Studio."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from contracts.events.base import Event, ImageRef
from contracts.events.dataset import DatasetRejected, DatasetRequested, DatasetVersioned
from contracts.events.feedback import FeedbackGiven
from contracts.events.image import ImageAdded, ImageRejected
from contracts.events.label import LabelDoubted, LabelSubmitted, LabelWithdrawn
from contracts.events.prediction import PredictionCompleted, Timings
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainedModel, TrainingCompleted, TrainingPlan
from services.chassis.blobs import Blobs
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.labeling_sync.choosing import is_drawn
from tests.conftest import LabelStudioServer
from tests.eventually import eventually
from tests.services.labeling_sync.real import a_card, a_picture, a_project, annotate, browser

pytestmark = pytest.mark.integration

E = TypeVar("E", bound=Event)


@pytest.fixture
def blobs(label_studio: LabelStudioServer) -> Blobs:
    return Blobs(str(label_studio.files_root / "blobs"))


@pytest.fixture
async def api(label_studio: LabelStudioServer) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(label_studio) as client:
        yield client


@pytest.fixture
async def client(nats_url: str, label_studio: LabelStudioServer) -> AsyncIterator[Client]:
    settings = Settings(nats_url=nats_url, blobs_root=str(label_studio.files_root / "blobs"))
    connection = await connect(settings, "test")
    await provision(connection)
    await connection.close()
    async with Client.connect(settings, "test") as client:
        yield client


def prediction(image: ImageRef, confidence: float) -> PredictionCompleted:
    return PredictionCompleted(
        prediction_id=f"p-{image.sha256}",
        image=image,
        label="bad",
        confidence=confidence,
        classes=("good", "bad"),
        probabilities=(1 - confidence, confidence),
        model_name="any",
        model_version=3,
        node="local",
        timings=Timings(waited_ms=0, decode_ms=0, infer_ms=0, total_ms=0),
    )


@asynccontextmanager
async def running_service(nats_url: str, server: LabelStudioServer) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **os.environ,
        "LOOPLINE_NATS_URL": nats_url,
        "LOOPLINE_BLOBS_ROOT": str(server.files_root / "blobs"),
        "LOOPLINE_LABEL_STUDIO_URL": server.url,
        "LOOPLINE_LABEL_STUDIO_TOKEN": server.token,
        "LOOPLINE_LABEL_STUDIO_FILES_ROOT": str(server.files_root),
        "LOOPLINE_SWEEP_PERIOD_S": "1",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.labeling_sync", env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def said(client: Client, event_type: type[E], project: str, count: int, timeout_s: float = 30) -> list[E]:
    """All events of a type once there are `count`, each fact once."""
    found: dict[str, E] = {}

    async def there_are_enough() -> None:
        async for event, envelope, _ in client.read(event_type, project):
            found[envelope.id] = event
        assert len(found) >= count, f"{len(found)} of {count} {event_type.name()}"

    await eventually(there_are_enough, timeout_s, every_s=0.2)
    return list(found.values())


async def test_labels_travel_to_a_dataset_version_and_each_fact_has_one_effect(
    client: Client, nats_url: str, label_studio: LabelStudioServer, api: httpx.AsyncClient, blobs: Blobs
) -> None:
    card = a_card(a_project(), "good", "bad")
    project = card.project
    images = [a_picture(blobs, 1_000 + number) for number in range(80)]
    await client.say(ProjectDefined(card=card), project=project)
    for place, image in enumerate(images):
        label = ("good", "bad")[place % 2] if place < 60 else None
        await client.say(ImageAdded(image=image, label=label, labelled_by="import"), project=project)
    gone = images[0].model_copy(update={"uri": f"blob://{'1' * 64}.png", "sha256": "1" * 64})
    await client.say(ImageAdded(image=gone), project=project)

    async with running_service(nats_url, label_studio) as service:
        # Killed in mid-work: messages come again, some after their tasks were made.
        await said(client, LabelSubmitted, project, 1)
        service.kill()
        await service.wait()
    async with running_service(nats_url, label_studio) as service:
        await said(client, LabelSubmitted, project, 60)
        (rejected,) = await said(client, ImageRejected, project, 1)
        assert "not in the blob store" in rejected.reason

        found = (await api.get("/api/projects/", params={"title": f"loopline:{project}"})).json()["results"]
        (shown,) = [one for one in found if one["title"] == f"loopline:{project}"]

        async def all_tasks_are_there() -> None:
            now = (await api.get(f"/api/projects/{shown['id']}/")).json()
            assert (now["task_number"], now["total_annotations_number"]) == (80, 60)

        await eventually(all_tasks_are_there, 30, every_s=0.3)
        tasks = (await api.get("/api/tasks/", params={"project": shown["id"], "page_size": 100})).json()["tasks"]
        task_of = {task["data"]["sha256"]: task["id"] for task in tasks}
        assert len(task_of) == 80

        await annotate(api, task_of[images[60].sha256], "bad")
        feedback = FeedbackGiven(
            prediction_id="p1", image=images[1], predicted="bad", correct="good", given_by="bob", model_version=1
        )
        for _ in range(2):
            await client.say(feedback, project=project)
        labels = await said(client, LabelSubmitted, project, 62)
        assert {one.label for one in labels if one.image_sha256 == images[60].sha256} == {"bad"}

        await client.say(DatasetRequested(why="test"), project=project)
        (version,) = await said(client, DatasetVersioned, project, 1)
        assert (version.number, version.labels, version.new_labels) == (1, 61, 61)
        rows = {row["sha256"]: row for row in pq.read_table(io.BytesIO(blobs.read(version.manifest.uri))).to_pylist()}
        assert list(rows) == sorted(rows)
        assert (rows[images[1].sha256]["label"], rows[images[1].sha256]["annotator"]) == ("good", "bob")
        assert (rows[images[0].sha256]["label"], rows[images[0].sha256]["width"]) == ("good", 48)
        assert {row["split"] for row in rows.values()} == {"train", "validation", "test"}

        await client.say(DatasetRequested(why="once more"), project=project)
        (refused,) = await said(client, DatasetRejected, project, 1)
        assert refused.checks[0].check == "nothing-new"

        for number in range(12):
            await client.say(prediction(a_picture(blobs, 2_000 + number), 0.5 + number / 25), project=project)
        asked = [one for one in await said(client, ImageAdded, project, 84) if one.metadata]
        assert [one.chosen for one in asked].count("uncertain") == 3
        assert all(is_drawn(one.image.sha256, 0.2) == (one.chosen == "random") for one in asked)

        async def all_have_tasks_with_the_models_answer() -> None:
            params = {"project": shown["id"], "page_size": 200, "fields": "all"}
            now = (await api.get("/api/tasks/", params=params)).json()["tasks"]
            guesses = {task["data"]["sha256"]: task["predictions"] for task in now if task["predictions"]}
            assert set(guesses) == {one.image.sha256 for one in asked}
            assert {guess["model_version"] for (guess,) in guesses.values()} == {f"{project}-v3"}

        await eventually(all_have_tasks_with_the_models_answer, 30, every_s=0.3)
        megabytes = psutil.Process(service.pid).memory_info().rss / 2**20
        print(f"labeling-sync: {megabytes:.0f} MB")
        assert megabytes < 250
    assert await client.dead_count() == 0


async def test_a_deleted_label_is_withdrawn_and_a_doubted_one_is_looked_at_once(
    client: Client, nats_url: str, label_studio: LabelStudioServer, api: httpx.AsyncClient, blobs: Blobs
) -> None:
    card = a_card(a_project(), "good", "bad")
    project = card.project
    images = [a_picture(blobs, 3_000 + number) for number in range(20)]
    await client.say(ProjectDefined(card=card), project=project)
    for place, image in enumerate(images):
        # Uncertain ones train all; the first is labelled against what the model will say.
        label = ("good", "bad")[(place + (place == 0)) % 2]
        added = ImageAdded(image=image, chosen="uncertain", label=label, labelled_by="import", metadata={"line": 3})
        await client.say(added, project=project)
    async with running_service(nats_url, label_studio) as service:
        labels = {one.image_sha256: one for one in await said(client, LabelSubmitted, project, 20)}
        await client.say(DatasetRequested(), project=project)
        (first,) = await said(client, DatasetVersioned, project, 1)
        assert (first.labels, first.left_out, first.agreement) == (20, (), None)

        await api.delete(f"/api/annotations/{labels[images[1].sha256].annotation_id}/")
        (gone,) = await said(client, LabelWithdrawn, project, 1)
        assert (gone.image_sha256, gone.label, gone.why) == (images[1].sha256, "bad", "deleted")
        await client.say(DatasetRequested(), project=project)
        _, second = await said(client, DatasetVersioned, project, 2)
        assert second.labels == 19

        for seed in range(2):
            await client.say(trained(blobs, images, seed), project=project)
        (doubted,) = await said(client, LabelDoubted, project, 1, timeout_s=120)
        assert (doubted.image_sha256, doubted.label, doubted.likelier) == (images[0].sha256, "bad", "good")
        await annotate(api, doubted.task_id, "bad")

        async def it_waits_no_longer() -> None:
            task = (await api.get(f"/api/tasks/{doubted.task_id}/")).json()
            assert "second_look" not in task["data"]
            assert task["data"]["line"] == 3

        await eventually(it_waits_no_longer, 60, every_s=0.5)
        await client.say(trained(blobs, images, 3), project=project)

        async def all_trainings_are_done() -> None:
            (doubts,) = [one for one in await client.consumers() if one.durable == "labeling-sync-doubts"]
            assert (doubts.pending, doubts.unacked) == (0, 0)

        await eventually(all_trainings_are_done, 120, every_s=0.5)
        assert len(await said(client, LabelDoubted, project, 1)) == 1
        megabytes = psutil.Process(service.pid).memory_info().rss / 2**20
        print(f"labeling-sync: {megabytes:.0f} MB")
        assert megabytes < 250
    assert await client.dead_count() == 0


def trained(blobs: Blobs, images: list[ImageRef], seed: int) -> TrainingCompleted:
    """A training whose held-out models say good and bad by turns."""
    labels = np.arange(len(images)) % 2
    probabilities = np.where(labels[:, None] == np.arange(2), 0.95, 0.05).astype(np.float32)
    given = np.concatenate([[1], labels[1:]])
    out = io.BytesIO()
    np.savez(
        out,
        sha256=[image.sha256 for image in images],
        probabilities=probabilities,
        labels=given,
        classes=["good", "bad"],
    )
    blob = blobs.put(out.getvalue(), "npz")
    return TrainingCompleted(
        plan=TrainingPlan(dataset_id="1" * 16, recipe="frozen-features", seed=seed),
        dataset_number=2,
        manifest=blob,
        run_id=f"run-{seed}",
        model=TrainedModel(file=blob, golden=blob, classes=("good", "bad"), max_side=64),
        metrics={},
        seconds=1,
        doubts=blob,
    )
