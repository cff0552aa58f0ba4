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
from services.labeling_sync.annotators import opinions, resolved
from services.labeling_sync.labels import Annotation, GivenLabel, Guess, NewTask, Task
from services.labeling_sync.ports import NoSuchProject
from services.labeling_sync.second_look import has_been_looked_at
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


def counted(task: Task) -> Annotation | None:
    return resolved(opinions(task.annotations), "last")


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
    assert {(one.label, one.annotator) for task in labelled for one in task.annotations} == {("good", "import")}
    assert {task.metadata["line"] for task in labelled} == {3}
    assert {tuple(task.metadata) for task in labelled} == {("line",)}
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
    (one_label,) = task.annotations
    assert (one_label.label, one_label.annotator, one_label.lead_time_s) == ("good", label_studio.email, 1.5)

    since = task.updated_at
    skipped = await annotate(api, two.id, "good", was_cancelled=True)
    given = GivenLabel(str(uuid4()), "bad & ugly", "bob")
    assert await studio.add_label(one.id, given)
    assert await studio.add_label(one.id, given)
    (task,) = [task async for some in studio.changed(card.project, since) for task in some if counted(task)]
    assert [(a.label, a.annotator) for a in task.annotations] == [("good", label_studio.email), ("bad & ugly", "bob")]
    assert counted(task) == task.annotations[1]
    by_id = {task.id: task for task in await studio.labelled(card.project)}
    assert by_id[one.id] == task
    assert by_id[two.id].annotations[0].id == skipped
    assert counted(by_id[two.id]) is None

    await api.delete(f"/api/annotations/{task.annotations[1].id}/")
    after = [task async for some in studio.changed(card.project, task.updated_at) for task in some]
    assert [one.id for task in after for one in task.annotations] == [first]
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


@pytest.mark.usefixtures("blobs")
async def test_a_class_that_is_renamed_or_taken_off_the_card_keeps_its_annotations(
    studio: LabelStudio, api: httpx.AsyncClient, blobs: Blobs
) -> None:
    card = a_card(a_project(), "good", "größe", "unused", "odd")
    id_ = await studio.create_project(card)
    made = [
        await studio.make_task(card.project, new_task(a_picture(blobs, number), label))
        for number, label in enumerate(("good", "größe", "good"))
    ]
    await annotate(api, made[2].id, "odd")

    async def fitted(*classes: str, **renamed: str) -> dict[str, str]:
        changed = a_card(card.project, *classes)
        data = changed.data.model_copy(update={"renamed": renamed})
        await studio.fit_project(id_, changed.model_copy(update={"data": data}))
        shown = (await api.get(f"/api/projects/{id_}/")).json()["parsed_label_config"]["label"]["labels_attrs"]
        return {name: attributes["value"] for name, attributes in shown.items()}

    assert await fitted("fine", "bad", good="fine") == {
        "fine": "fine",
        "bad": "bad",
        "good": "good (now fine)",
        "größe": "größe (no longer asked for)",
        "odd": "odd (no longer asked for)",
    }
    # Nothing was touched, and what was named by its former name still is.
    names = [one.label for task in await studio.labelled(card.project) for one in task.annotations]
    assert sorted(name or "" for name in names) == ["good", "good", "größe", "odd"]
    for task in await studio.labelled(card.project):
        for one in task.annotations:
            await api.delete(f"/api/annotations/{one.id}/")
    assert await fitted("fine", "bad") == {"fine": "fine", "bad": "bad"}


async def test_deleted_annotations_and_tasks_are_missed(
    studio: LabelStudio, api: httpx.AsyncClient, blobs: Blobs
) -> None:
    card = a_card(a_project())
    await studio.create_project(card)
    tasks = [new_task(a_picture(blobs, number), "good") for number in range(6)]
    made = sorted(one.id for one in await asyncio.gather(*(studio.make_task(card.project, task) for task in tasks)))
    second = await annotate(api, made[0], "bad & ugly")
    skipped = await annotate(api, made[1], "good", was_cancelled=True)
    there = await studio.annotations_of(card.project, made)
    assert (len(there), await studio.annotation_count(card.project)) == (8, 7)  # the skipped one does not count
    assert {second, skipped} < there
    assert await studio.has_annotation(second)
    await api.delete(f"/api/annotations/{second}/")
    await api.delete(f"/api/tasks/{made[5]}/")
    left = await studio.annotations_of(card.project, made)
    assert len(there - left) == 2
    assert await studio.annotation_count(card.project) == 5
    assert [await studio.has_annotation(one) for one in sorted(there - left)] == [False, False]


async def test_a_task_comes_back_to_people_until_somebody_has_looked(
    studio: LabelStudio, api: httpx.AsyncClient, blobs: Blobs
) -> None:
    card = a_card(a_project())
    id_ = await studio.create_project(card)
    images = [a_picture(blobs, number) for number in range(3)]
    one, other, bare = [
        await studio.make_task(card.project, new_task(image, label))
        for image, label in zip(images, ("good", "good", ""), strict=True)
    ]
    for _ in range(2):
        assert await studio.give_back(card.project, one.id, "is it bad?")
    assert await studio.give_back(card.project, other.id, "is it bad?")
    assert not await studio.give_back(card.project, bare.id, "nobody labelled it")
    assert not await studio.give_back(card.project, 10**9, "deleted")
    assert await studio.second_looks(card.project) == 2

    # What a person finds in the tab of that name.
    (tab,) = (await api.get("/api/dm/views/", params={"project": id_})).json()
    assert tab["data"]["title"] == "Second look"
    shown = (await api.get("/api/tasks/", params={"project": id_, "view": tab["id"]})).json()["tasks"]
    assert {task["id"]: task["data"]["second_look"] for task in shown} == dict.fromkeys(
        (one.id, other.id), "is it bad?"
    )

    async def looked_at() -> list[int]:
        tasks = await studio.tasks_of(card.project, [image.sha256 for image in images])
        assert all(task.metadata == {"line": 3} for task in tasks.values())
        return sorted(task.id for task in tasks.values() if has_been_looked_at(task))

    assert await looked_at() == []
    tasks = await studio.tasks_of(card.project, [images[0].sha256])
    (label,) = tasks[images[0].sha256].annotations
    # "Update" without a change confirms; a label beside the first is a second opinion.
    result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["good"]}}]
    (await api.patch(f"/api/annotations/{label.id}/", json={"result": result})).raise_for_status()
    assert await looked_at() == [one.id]
    await annotate(api, other.id, "bad & ugly")
    assert await looked_at() == sorted((one.id, other.id))
    for task in (one, other, other):
        await studio.take_off(task.id)
    assert await studio.second_looks(card.project) == 0
    assert await looked_at() == []


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
