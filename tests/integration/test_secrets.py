"""No password or token is told when something goes wrong: not in logs, health, traces, or anything on the bus."""

import asyncio
import base64
import json
import os
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError

import pytest

from contracts.topology import STREAMS
from deploy.embedded import servers
from deploy.embedded.nats_users import authorization
from deploy.embedded.passwords import passwords
from deploy.embedded.servers import HOST, free_port
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.servers import running
from tests.signing import key_settings

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "contracts" / "examples"
# Not a word that stands anywhere else; with what URLs and quoting change.
SECRET = "s3cr3t-Kb9x%27_hush"
SECRET_IN_URL = "s3cr3t-Kb9x%2527_hush"
TOKEN = base64.b64encode(f"ines:{SECRET}".encode()).decode()
ENOUGH_S = 60


@contextmanager
def refusing_server() -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that answers 401 to everything; gives its URL and the logins it was shown."""
    logins: list[str] = []

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            logins.append(self.headers.get("Authorization", ""))
            body = b'{"detail": "Invalid token."}'
            self.send_response(401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer((HOST, 0), Refuse)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}", logins
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """The address of a bus with the users of the contracts and the topology, and their passwords."""
    port, made = free_port(), dict(passwords(tmp_path).nats)
    with running(servers.nats(tmp_path / "nats", port, authorization(made)), tmp_path / "nats.log"):
        url = f"nats://{HOST}:{port}"
        connection = await connect(as_user(url, "provisioner", made), "provisioner")
        await provision(connection)
        await connection.close()
        yield url, made


def as_user(url: str, name: str, made: dict[str, str]) -> Settings:
    return Settings(nats_url=url, nats_user=name, nats_password=made[name])


async def start(folder: Path, *words: str, **settings: str) -> asyncio.subprocess.Process:
    """A program of ours with nothing in its environment but these settings; its output goes to `<folder>/output`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LOOPLINE_", "MLFLOW_"))}
    places = {
        "LOOPLINE_VAR": str(folder),
        "LOOPLINE_TRACES_DIR": str(folder / "traces"),
        "LOOPLINE_BLOBS_ROOT": str(folder / "blobs"),
        "LOOPLINE_LOG_LEVEL": "DEBUG",
        "PYTHONPATH": str(ROOT),
        **key_settings(),
    }
    with (folder / "output").open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", *words, env={**own, **places, **settings}, cwd=folder, stdout=output, stderr=output
        )


@asynccontextmanager
async def kept_running(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), ENOUGH_S)


def told(folder: Path) -> str:
    """All that was written there: output, spans, files."""
    return "\n".join(path.read_text("utf-8", "replace") for path in sorted(folder.rglob("*")) if path.is_file())


def holds_secret(text: str) -> bool:
    return any(secret in text for secret in (SECRET, SECRET_IN_URL, TOKEN))


@pytest.mark.parametrize(
    ("words", "in_url"),
    [
        (("services.cli", "status"), False),
        (("services.registry",), False),
        (("services.registry",), True),
        (("services.chassis.provisioning",), True),
    ],
)
async def test_a_wrong_password_of_the_bus_is_not_told(
    bus: tuple[str, dict[str, str]], tmp_path: Path, words: tuple[str, ...], in_url: bool
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    wrong = {"LOOPLINE_NATS_URL": bus[0], "LOOPLINE_NATS_USER": "cli", "LOOPLINE_NATS_PASSWORD": SECRET}
    if in_url:
        wrong = {"LOOPLINE_NATS_URL": bus[0].replace("//", f"//cli:{SECRET_IN_URL}@")}
    process = await start(folder, *words, **wrong)
    assert await asyncio.wait_for(process.wait(), ENOUGH_S) != 0
    assert "refuses the user cli: check LOOPLINE_NATS_PASSWORD" in told(folder)
    assert not holds_secret(told(folder))
    assert not holds_secret((tmp_path / "nats.log").read_text())


async def test_a_password_in_the_url_of_mlflow_is_refused_and_not_told(tmp_path: Path) -> None:
    process = await start(
        tmp_path, "services.registry", LOOPLINE_MLFLOW_URL=f"http://ines:{SECRET_IN_URL}@127.0.0.1:5000"
    )
    assert await asyncio.wait_for(process.wait(), ENOUGH_S) != 0
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead" in told(tmp_path)
    assert not holds_secret(told(tmp_path))


@pytest.mark.parametrize(
    ("service", "settings", "event", "shown"),
    [
        (
            "registry",
            {"MLFLOW_TRACKING_USERNAME": "ines", "MLFLOW_TRACKING_PASSWORD": SECRET},
            "evaluation.completed",
            f"Basic {TOKEN}",
        ),
        ("labeling-sync", {"LOOPLINE_LABEL_STUDIO_TOKEN": SECRET}, "project.defined", f"Token {SECRET}"),
    ],
)
async def test_a_login_that_is_refused_is_shown_to_its_server_and_to_no_one_else(
    bus: tuple[str, dict[str, str]],
    tmp_path: Path,
    service: str,
    settings: dict[str, str],
    event: str,
    shown: str,
) -> None:
    url, made = bus
    folder, port = tmp_path / "run", free_port()
    folder.mkdir()
    message = json.loads((EXAMPLES / f"loopline.{event}.v1.json").read_text())
    with refusing_server() as (refusing, logins):
        process = await start(
            folder,
            f"services.{service.replace('-', '_')}",
            LOOPLINE_NATS_URL=url,
            LOOPLINE_NATS_USER=service,
            LOOPLINE_NATS_PASSWORD=made[service],
            LOOPLINE_HTTP_PORT=str(port),
            LOOPLINE_MLFLOW_URL=refusing,
            LOOPLINE_LABEL_STUDIO_URL=refusing,
            LOOPLINE_LABEL_STUDIO_FILES_ROOT=str(folder),
            **settings,
        )
        async with kept_running(process), Client.connect(as_user(url, "cli", made), "cli") as client:
            await client.bus.store(message["subject"], json.dumps(message["body"]).encode(), message["headers"], "LOOP")

            def was_tried() -> None:
                assert process.returncode is None, told(folder)
                assert logins
                assert "401" in told(folder) or "refuses the token" in told(folder), told(folder)

            await eventually(was_tried, ENOUGH_S)
            health = await asyncio.to_thread(ready, port)
            said = [
                str((stored.subject, stored.headers, stored.data))
                for stream in STREAMS
                for stored in [
                    await client.bus.jetstream.get_msg(stream.name, seq)
                    for seq in range(1, (await client.bus.jetstream.stream_info(stream.name)).state.last_seq + 1)
                ]
            ]
    assert set(logins) == {shown}
    assert (folder / "traces").exists()
    for text in (told(folder), health, *said):
        assert not holds_secret(text)
        assert made[service] not in text


def ready(port: int) -> str:
    """What `/health/ready` answers, well or ill."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health/ready", timeout=30) as response:
            return str(response.read())
    except HTTPError as error:
        return str(error.read())
