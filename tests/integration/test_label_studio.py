"""labeling-sync against the real Label Studio, and as a process between it and a real bus."""

import asyncio
import io
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import httpx
import psutil
import pyarrow.parquet as pq
import pytest

from contracts.events.base import Event, ImageRef
from contracts.events.dataset import DatasetRejected, DatasetRequested, DatasetVersioned
from contracts.events.feedback import FeedbackGiven
from contracts.events.image import ImageAdded, ImageRejected
from contracts.events.label import LabelSubmitted
from contracts.events.project import ProjectDefined
from contracts.project import ScopeCard
from services.chassis.blobs import Blobs
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.images import encode_png
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.labeling_sync.adapters.label_studio import Http, LabelStudio, ServedPictures
from services.labeling_sync.labels import GivenLabel, Guess, NewTask, Task
from services.labeling_sync.ports import Away, NoSuchProject
from tests.conftest import LabelStudioServer
from tests.eventually import eventually
from tests.manifests import picture

pytestmark = pytest.mark.integration

E = TypeVar("E", bound=Event)


def a_card(project: str, *classes: str) -> ScopeCard:
    data = {"classes": classes or ("good", "bad & ugly"), "min_train_per_class": 1}
    freeze = {"new_labels": 1_000, "quiet_s": 86_400}
    return ScopeCard.model_validate({"project": project, "data": data, "label": {"freeze": freeze}})


def a_project() -> str:
    return f"p-{uuid4().hex[:12]}"


def a_picture(blobs: Blobs, number: int) -> ImageRef:
    blob = blobs.put(encode_png(picture(0, number)), "png")
    return ImageRef(uri=blob.uri, sha256=blob.sha256, width=48, height=48)


def new_task(image: ImageRef, label: str = "", guess: Guess | None = None) -> NewTask:
    given = GivenLabel(str(uuid4()), label, "import") if label else None
    return NewTask(image.sha256, image.uri, "random", 48, 48, f"e-{image.sha256}", given, guess, {"line": 3})


@pytest.fixture
def blobs(label_studio: LabelStudioServer) -> Blobs:
    return Blobs(str(label_studio.files_root / "blobs"))


@asynccontextmanager
async def studio_with(server: LabelStudioServer, token: str) -> AsyncIterator[LabelStudio]:
    http = Http(server.url, token, timeout_s=30, patience_s=0)
    root = str(server.files_root / "blobs")
    try:
        yield LabelStudio(http, ServedPictures(Blobs(root), root, str(server.files_root)))
    finally:
        await http.close()


@pytest.fixture
async def studio(label_studio: LabelStudioServer) -> AsyncIterator[LabelStudio]:
    async with studio_with(label_studio, label_studio.token) as studio:
        yield studio


@pytest.fixture
async def api(label_studio: LabelStudioServer) -> AsyncIterator[httpx.AsyncClient]:
    """Label Studio as a person's browser sees it."""
    headers = {"Authorization": f"Token {label_studio.token}"}
    async with httpx.AsyncClient(base_url=label_studio.url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


async def annotate(api: httpx.AsyncClient, task_id: int, label: str, **more: object) -> int:
    result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]
    answer = await api.post(f"/api/tasks/{task_id}/annotations/", json={"result": result, "lead_time": 1.5, **more})
    return int(answer.raise_for_status().json()["id"])


async def all_changed(studio: LabelStudio, project: str) -> list[Task]:
    return [task async for some in studio.changed(project, None) for task in some]


async def test_a_project_asks_for_the_classes_of_the_card_and_follows_it(
    studio: LabelStudio, api: httpx.AsyncClient
) -> None:
    card = a_card(a_project())
    assert await studio.find_project(card.project) is None
    id_ = await studio.create_project(card)
    for fitted in (card, card, a_card(card.project, "good", "bad & ugly", "new")):
        await studio.fit_project(id_, fitted)
    assert await studio.find_project(card.project) == id_
    shown = (await api.get(f"/api/projects/{id_}/")).json()
    assert shown["title"] == f"loopline:{card.project}"
    assert shown["parsed_label_config"]["label"]["labels"] == ["good", "bad & ugly", "new"]
    assert len((await api.get("/api/storages/localfiles", params={"project": id_})).json()) == 1
    await api.delete(f"/api/projects/{id_}/")
    with pytest.raises(NoSuchProject, match="deleted"):
        await studio.labelled(card.project)
    assert await studio.find_project(card.project) is None


async def test_tasks_are_made_once_with_picture_label_and_guess(
    studio: LabelStudio, api: httpx.AsyncClient, blobs: Blobs
) -> None:
    card = a_card(a_project())
    await studio.fit_project(await studio.create_project(card), card)
    images = [a_picture(blobs, number) for number in range(130)]
    tasks = [new_task(image, "good" if place % 2 else "") for place, image in enumerate(images)]
    tasks[0] = new_task(images[0], guess=Guess("bad & ugly", 0.55, "v3"))
    started = time.monotonic()
    made = await asyncio.gather(*(studio.make_task(card.project, task) for task in tasks))
    print(f"label studio: {len(tasks) / (time.monotonic() - started):.0f} tasks/s")
    again = await asyncio.gather(*(studio.make_task(card.project, task) for task in tasks))
    assert again == made
    assert len({task.id for task in made}) == 130
    assert await studio.find_tasks(card.project, [images[5].sha256, "0" * 64]) == {images[5].sha256: made[5]}

    shown = (await api.get(f"/api/tasks/{made[0].id}/")).json()
    served = await api.get(shown["data"]["image"])
    assert served.content == blobs.read(images[0].uri)
    assert served.headers["content-type"] == "image/png"
    assert (shown["data"]["line"], shown["data"]["width"]) == (3, 48)
    (prediction,) = shown["predictions"]
    assert (prediction["score"], prediction["model_version"]) == (0.55, "v3")
    assert prediction["result"][0]["value"]["choices"] == ["bad & ugly"]

    labelled = await studio.labelled(card.project)
    assert sorted(task.id for task in labelled) == sorted(one.id for one in made[1::2])
    assert {(task.label.label, task.label.annotator) for task in labelled if task.label} == {("good", "import")}
    assert sorted(await all_changed(studio, card.project), key=lambda one: one.id) == labelled


async def test_labels_of_people_are_read_as_they_change(
    studio: LabelStudio, api: httpx.AsyncClient, blobs: Blobs, label_studio: LabelStudioServer
) -> None:
    card = a_card(a_project())
    await studio.create_project(card)
    one, two = [await studio.make_task(card.project, new_task(a_picture(blobs, number))) for number in (1, 2)]
    assert await all_changed(studio, card.project) == []
    first = await annotate(api, one.id, "good")
    (task,) = await all_changed(studio, card.project)
    assert task.label is not None
    assert (task.label.label, task.label.annotator, task.label.lead_time_s) == ("good", label_studio.email, 1.5)

    since = task.updated_at
    skipped = await annotate(api, two.id, "good", was_cancelled=True)
    given = GivenLabel(str(uuid4()), "bad & ugly", "bob")
    assert await studio.add_label(one.id, given)
    assert await studio.add_label(one.id, given)
    (task,) = [task async for some in studio.changed(card.project, since) for task in some if task.label]
    assert [(a.label, a.annotator) for a in task.annotations] == [("good", label_studio.email), ("bad & ugly", "bob")]
    assert task.label == task.annotations[1]
    by_id = {task.id: task for task in await studio.labelled(card.project)}
    assert by_id[one.id] == task
    assert by_id[two.id].annotations[0].id == skipped
    assert by_id[two.id].label is None

    await api.delete(f"/api/annotations/{task.annotations[1].id}/")
    after = [task async for some in studio.changed(card.project, task.updated_at) for task in some]
    assert [(task.label.id if task.label else None) for task in after] == [first]
    assert [task async for some in studio.changed(card.project, after[0].updated_at) for task in some] == []
    assert not await studio.add_label(10**9, given)


async def test_more_changes_than_a_page_are_read_each_once(
    studio: LabelStudio, api: httpx.AsyncClient, blobs: Blobs
) -> None:
    card = a_card(a_project())
    await studio.create_project(card)
    tasks = [new_task(a_picture(blobs, number), "good") for number in range(205)]
    made = await asyncio.gather(*(studio.make_task(card.project, task) for task in tasks))
    found = await all_changed(studio, card.project)
    assert sorted(task.id for task in found) == sorted(one.id for one in made)
    half = sorted(task.updated_at for task in found)[100]
    later = [task async for some in studio.changed(card.project, half) for task in some]
    assert len(later) == 104
    assert [task async for some in studio.changed(card.project, half + timedelta(days=1)) for task in some] == []


async def test_a_wrong_token_is_told_in_a_sentence(label_studio: LabelStudioServer) -> None:
    async with studio_with(label_studio, "0" * 40) as studio:
        assert not await studio.answers()
        with pytest.raises(Away, match=r"refuses the token: set LOOPLINE_LABEL_STUDIO_TOKEN") as refused:
            await studio.find_project("solar")
    assert "0" * 40 not in str(refused.value)


async def test_a_label_studio_that_is_away_is_told_in_a_sentence(label_studio: LabelStudioServer) -> None:
    away = LabelStudioServer("http://127.0.0.1:1", "", "", "", label_studio.files_root)
    async with studio_with(away, label_studio.token) as studio:
        assert not await studio.answers()
        with pytest.raises(Away, match=r"http://127\.0\.0\.1:1 does not answer: is it running"):
            await studio.labelled("solar")


# The whole service


@pytest.fixture
async def client(nats_url: str, label_studio: LabelStudioServer) -> AsyncIterator[Client]:
    settings = Settings(nats_url=nats_url, blobs_root=str(label_studio.files_root / "blobs"))
    connection = await connect(settings, "test")
    await provision(connection)
    await connection.close()
    async with Client.connect(settings, "test") as client:
        yield client


@asynccontextmanager
async def running_service(nats_url: str, server: LabelStudioServer) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **os.environ,
        "LOOPLINE_NATS_URL": nats_url,
        "LOOPLINE_BLOBS_ROOT": str(server.files_root / "blobs"),
        "LOOPLINE_LABEL_STUDIO_URL": server.url,
        "LOOPLINE_LABEL_STUDIO_TOKEN": server.token,
        "LOOPLINE_LABEL_STUDIO_FILES_ROOT": str(server.files_root),
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
        megabytes = psutil.Process(service.pid).memory_info().rss / 2**20
        print(f"labeling-sync: {megabytes:.0f} MB")
        assert megabytes < 250
    assert await client.dead_count() == 0


def test_pictures_outside_of_what_label_studio_serves_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="LOOPLINE_LABEL_STUDIO_FILES_ROOT"):
        ServedPictures(Blobs(str(tmp_path / "blobs")), str(tmp_path / "blobs"), str(tmp_path / "elsewhere"))
