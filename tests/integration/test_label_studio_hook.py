"""A label travels by Label Studio's webhook, sooner than the poll looks."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from contracts.events.image import ImageAdded
from contracts.events.label import LabelSubmitted
from contracts.events.project import ProjectDefined
from deploy.embedded import servers
from deploy.embedded.probes import answers
from deploy.embedded.servers import HOST, free_port
from services.chassis.blobs import Blobs
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.labeling_sync.hinting import HOOK_PATH
from tests.conftest import LabelStudioServer
from tests.eventually import eventually
from tests.servers import running
from tests.services.labeling_sync.real import a_card, a_picture, a_project, annotate, browser

pytestmark = pytest.mark.integration

SECRET = "only-for-tests-0123456789"
NEVER_S = 86_400.0  # a poll that does not come while the test runs


@pytest.fixture(scope="module")
def open_label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """A Label Studio that may post to this machine."""
    root = tmp_path_factory.mktemp("label-studio")
    port = free_port()
    server = LabelStudioServer(f"http://{HOST}:{port}", "0" * 40, "operator@loopline.local", "only", root / "files")
    process = servers.label_studio(
        root / "data", port, email=server.email, password=server.password, token=server.token, files_root=root / "files"
    )
    with running(replace(process, env={**process.env, "SSRF_PROTECTION_ENABLED": "false"}), root / "log"):
        yield server


@asynccontextmanager
async def labeling_sync(nats_url: str, server: LabelStudioServer, **settings: object) -> AsyncIterator[str]:
    port = free_port()
    told = {
        "NATS_URL": nats_url,
        "BLOBS_ROOT": server.files_root / "blobs",
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_TOKEN": server.token,
        "LABEL_STUDIO_FILES_ROOT": server.files_root,
        "HTTP_PORT": port,
        **settings,
    }
    environment = {**os.environ, **{f"LOOPLINE_{name.upper()}": str(value) for name, value in told.items()}}
    url = f"http://{HOST}:{port}"
    environment.setdefault("LOOPLINE_LABEL_STUDIO_HOOK_URL", url + HOOK_PATH)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.labeling_sync", env=environment)
    try:
        await eventually(lambda: _ready(url), 60, every_s=0.3)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _ready(url: str) -> None:
    assert await asyncio.to_thread(answers, f"{url}/health/ready")


@asynccontextmanager
async def a_bus(nats_url: str, blobs_root: Path) -> AsyncIterator[Client]:
    settings = Settings(nats_url=nats_url, blobs_root=str(blobs_root))
    connection = await connect(settings, "test")
    await provision(connection)
    await connection.close()
    async with Client.connect(settings, "test") as client:
        yield client


async def the_task(client: Client, api: httpx.AsyncClient, project: str, server: LabelStudioServer) -> tuple[int, int]:
    """A new project with one image: its ids in Label Studio, of the project and of the image's task."""
    await client.say(ProjectDefined(card=a_card(project, "good", "bad")), project=project)
    await client.say(ImageAdded(image=a_picture(Blobs(str(server.files_root / "blobs")), 1)), project=project)
    found: list[tuple[int, int]] = []

    async def the_image_has_a_task() -> None:
        shown = (await api.get("/api/projects/", params={"title": f"loopline:{project}"})).json()["results"]
        assert shown
        tasks = (await api.get("/api/tasks/", params={"project": shown[0]["id"]})).json()["tasks"]
        assert tasks
        found.append((shown[0]["id"], tasks[0]["id"]))

    await eventually(the_image_has_a_task, 60, every_s=0.3)
    return found[-1]


async def the_labels(client: Client, project: str, *labels: str) -> None:
    async def are_said() -> None:
        assert [event.label async for event, _, _ in client.read(LabelSubmitted, project)] == list(labels)

    await eventually(are_said, 60, every_s=0.2)


async def test_a_label_comes_by_the_hook_and_a_hint_alone_is_no_label(
    nats_url: str, open_label_studio: LabelStudioServer
) -> None:
    server, project = open_label_studio, a_project()
    async with (
        a_bus(nats_url, server.files_root / "blobs") as client,
        browser(server) as api,
        labeling_sync(nats_url, server, poll_period_s=NEVER_S, label_studio_hook_secret=SECRET) as url,
    ):
        id_, task = await the_task(client, api, project, server)

        async def the_hook_is_there() -> None:
            hooks = (await api.get("/api/webhooks/", params={"project": id_})).json()
            assert [(hook["url"], hook["send_payload"]) for hook in hooks] == [(url + HOOK_PATH, False)]

        await eventually(the_hook_is_there, 60, every_s=0.3)
        await annotate(api, task, "bad")
        await the_labels(client, project, "bad")

        async with httpx.AsyncClient(base_url=url, trust_env=False) as stranger:
            assert (await stranger.post(HOOK_PATH)).status_code == 401
            right = {"Authorization": f"Bearer {SECRET}"}
            for _ in range(5):
                assert (await stranger.post(HOOK_PATH, headers=right, json={"action": "x"})).status_code == 204
        await annotate(api, task, "good")
        await the_labels(client, project, "bad", "good")


async def test_where_label_studio_posts_to_nobody_private_labels_come_by_the_poll(
    nats_url: str, label_studio: LabelStudioServer
) -> None:
    server, project = label_studio, a_project()
    async with (
        a_bus(nats_url, server.files_root / "blobs") as client,
        browser(server) as api,
        labeling_sync(nats_url, server, poll_period_s=1, label_studio_hook_secret=SECRET),
    ):
        id_, task = await the_task(client, api, project, server)
        await annotate(api, task, "bad")
        await the_labels(client, project, "bad")
        assert (await api.get("/api/webhooks/", params={"project": id_})).json() == []
