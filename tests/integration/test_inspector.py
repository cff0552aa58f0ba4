"""The stand-in for the inspector (`loopline label`) against the real Label Studio."""

import asyncio
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from uuid import uuid4

import httpx
import pytest

from services.cli.errors import BadInput
from services.cli.labelling import Inspector
from services.labeling_sync.adapters.label_studio import shapes
from services.labeling_sync.labels import NewTask, Task
from tests.conftest import LabelStudioServer

pytestmark = pytest.mark.integration

CLASSES = ("functional", "defective")
TRUTH = {sha256(bytes([i])).hexdigest(): CLASSES[i % 2] for i in range(60)}


@pytest.fixture
async def api(label_studio: LabelStudioServer) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Token {label_studio.token}"}
    async with httpx.AsyncClient(base_url=label_studio.url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
async def project(api: httpx.AsyncClient) -> str:
    """A project as labeling-sync makes it, without tasks."""
    name = f"p-{uuid4().hex[:12]}"
    body = {"title": shapes.title_of(name), "label_config": shapes.label_config(CLASSES)}
    (await api.post("/api/projects/", json=body)).raise_for_status()
    return name


async def _id(api: httpx.AsyncClient, project: str) -> int:
    found = (await api.get("/api/projects/", params={"title": shapes.title_of(project)})).json()["results"]
    return int(found[0]["id"])


async def _ask(api: httpx.AsyncClient, project: str, images: list[str]) -> None:
    tasks = [NewTask(sha256, f"blob://{sha256}.png", "random", 8, 8, f"e-{sha256}") for sha256 in images]
    body = [shapes.new_task(task, "/nowhere.png") for task in tasks]
    (await api.post(f"/api/projects/{await _id(api, project)}/import", json=body)).raise_for_status()


async def _tasks(api: httpx.AsyncClient, project: str) -> list[Task]:
    params = {"exportType": "JSON", "download_all_tasks": "true"}
    answer = await api.get(f"/api/projects/{await _id(api, project)}/export", params=params)
    return [shapes.task_of(task, {}) for task in answer.json()]


def _inspector(server: LabelStudioServer, name: str = "inspector") -> Inspector:
    return Inspector(server.url, server.token, TRUTH, name)


async def test_every_known_task_gets_its_true_class_once_under_the_inspectors_name(
    label_studio: LabelStudioServer, api: httpx.AsyncClient, project: str
) -> None:
    unknown = "f" * 64
    await _ask(api, project, [unknown, *TRUTH])
    steps: list[int] = []
    began = time.monotonic()
    assert await _inspector(label_studio).label(project, None, steps.append, patience_s=0) == len(TRUTH)
    print(f"{(time.monotonic() - began) / len(TRUTH) * 1000:.0f} ms a task")
    assert sum(steps) == len(TRUTH)
    tasks = {task.sha256: task for task in await _tasks(api, project)}
    assert tasks.pop(unknown).annotations == ()
    assert {image: one.label for image, task in tasks.items() for one in task.annotations} == TRUTH
    assert {annotation.annotator for task in tasks.values() for annotation in task.annotations} == {"inspector"}
    assert await _inspector(label_studio).label(project, None, steps.append, patience_s=0) == 0
    assert {len(task.annotations) for task in await _tasks(api, project)} == {0, 1}


async def test_count_is_waited_for_and_not_exceeded(
    label_studio: LabelStudioServer, api: httpx.AsyncClient, project: str
) -> None:
    images = list(TRUTH)[:5]
    await _ask(api, project, images[:2])
    labelling = asyncio.create_task(_inspector(label_studio).label(project, 4, lambda _: None, patience_s=30))
    await asyncio.sleep(0)
    await _ask(api, project, images[2:])
    assert await labelling == 4
    assert sum(bool(task.annotations) for task in await _tasks(api, project)) == 4


async def test_label_studio_that_cannot_be_used_is_said_in_a_sentence(label_studio: LabelStudioServer) -> None:
    with pytest.raises(BadInput, match="refuses the token: check LOOPLINE_LABEL_STUDIO_TOKEN"):
        await Inspector(label_studio.url, "wrong", TRUTH).label("solar", None, lambda _: None)
    with pytest.raises(BadInput, match="cannot reach Label Studio"):
        await Inspector("http://127.0.0.1:9", "x", TRUTH).label("solar", None, lambda _: None)
    assert await _inspector(label_studio).label("not-made-yet", None, lambda _: None, patience_s=0) == 0
