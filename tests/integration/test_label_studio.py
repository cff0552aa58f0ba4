"""labeling-sync's Label Studio, the real one."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from contracts.events.base import ImageRef
from services.chassis.blobs import Blobs
from services.chassis.errors import Away
from services.labeling_sync.adapters.label_studio import Http, LabelStudio, ServedPictures
from services.labeling_sync.labels import GivenLabel, Guess, NewTask, Task
from services.labeling_sync.ports import NoSuchProject
from tests.conftest import LabelStudioServer
from tests.services.labeling_sync.real import a_card, a_picture, a_project, annotate, browser

pytestmark = pytest.mark.integration


def new_task(image: ImageRef, label: str = "", guess: Guess | None = None) -> NewTask:
    given = GivenLabel(str(uuid4()), label, "import") if label else None
    return NewTask(image.sha256, image.uri, "random", 48, 48, f"e-{image.sha256}", given, guess, {"line": 3})


@pytest.fixture
def blobs(label_studio: LabelStudioServer) -> Blobs:
    root = label_studio.files_root / "blobs"
    root.mkdir(exist_ok=True)
    return Blobs(str(root))


@asynccontextmanager
async def studio_with(server: LabelStudioServer, token: str) -> AsyncIterator[LabelStudio]:
    http = Http(server.url, token, timeout_s=30)
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
    async with browser(label_studio) as client:
        yield client


async def all_changed(studio: LabelStudio, project: str) -> list[Task]:
    return [task async for some in studio.changed(project, None) for task in some]


@pytest.mark.usefixtures("blobs")
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
        with pytest.raises(Away, match=r"refuses the token: set LOOPLINE_LABEL_STUDIO_TOKEN") as refused:
            await studio.answers()
        with pytest.raises(Away, match=r"refuses the token: set LOOPLINE_LABEL_STUDIO_TOKEN"):
            await studio.find_project("solar")
    assert "0" * 40 not in str(refused.value)


async def test_a_label_studio_that_is_away_is_told_in_a_sentence(label_studio: LabelStudioServer) -> None:
    away = LabelStudioServer("http://127.0.0.1:1", "", "", "", label_studio.files_root)
    async with studio_with(away, label_studio.token) as studio:
        with pytest.raises(Away, match=r"http://127\.0\.0\.1:1 does not answer: is it running"):
            await studio.answers()
        with pytest.raises(Away, match=r"http://127\.0\.0\.1:1 does not answer: is it running"):
            await studio.labelled("solar")


def test_pictures_outside_of_what_label_studio_serves_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="LOOPLINE_LABEL_STUDIO_FILES_ROOT"):
        ServedPictures(Blobs(str(tmp_path / "blobs")), str(tmp_path / "blobs"), str(tmp_path / "elsewhere"))
