"""What contracts/README.md shows, run as it stands there against a real bus with its users."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from contracts.envelope import derive_id
from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.prediction import PredictionRequested
from contracts.events.training import TrainingRequested
from contracts.permissions import USERS
from deploy.embedded import servers
from deploy.embedded.nats_users import authorization
from services.chassis.app import Service
from services.chassis.connection import connect
from services.chassis.heard import Heard
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.servers import running
from tests.services.cli.world import png

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0


def block(language: str) -> str:
    """The one code block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "contracts" / "README.md").read_text(), re.M | re.S)
    return str(found)


@dataclass
class World:
    """A bus with its users, and what a trainer and a predictor hear on it."""

    url: str
    folder: Path
    heard: list[tuple[Event, Heard]] = field(default_factory=list)

    def settings(self, user: str) -> Settings:
        return Settings(nats_url=self.url, nats_user=user, nats_password=SecretStr(f"{user}-only-for-tests"))

    async def on_event(self, event: Event, heard: Heard) -> Iterable[Event]:
        self.heard.append((event, heard))
        return []

    async def run(self, *command: str, user: str) -> str:
        """Run a command as a user of the bus in an empty folder; gives what it prints."""
        secret = self.settings(user).nats_password.get_secret_value()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LOOPLINE_VAR": str(self.folder),
            "LOOPLINE_NATS_URL": self.url,
            "LOOPLINE_NATS_USER": user,
            "LOOPLINE_NATS_PASSWORD": secret,
        }
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=self.folder, stdout=pipe, stderr=pipe
        )
        out, err = await asyncio.wait_for(process.communicate(), WAIT_S)
        assert process.returncode == 0, err.decode()
        return out.decode()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """A trainer and a predictor run."""
        trainer, predictor = (Service(name, self.settings(name)) for name in ("trainer", "predictor"))
        trainer.hear("trainer-training", {TrainingRequested: self.on_event, DatasetVersioned: self.on_event})
        predictor.hear("predictor-requests", {PredictionRequested: self.on_event})
        async with trainer.app().start_lifespan_context(), predictor.app().start_lifespan_context():
            yield

    async def next_heard(self) -> tuple[Event, Heard]:
        def one_came() -> None:
            assert self.heard

        await eventually(one_came, timeout_s=WAIT_S)
        return self.heard.pop(0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    port = servers.free_port()
    users = authorization({row.name: f"{row.name}-only-for-tests" for row in USERS})
    found = World(f"nats://{servers.HOST}:{port}", tmp_path)
    with running(servers.nats(tmp_path / "nats", port, users), tmp_path / "nats.log"):
        connection = await connect(found.settings("provisioner"), "provisioner")
        await provision(connection)
        await connection.close()
        yield found


async def test_the_command_line_says_it(world: World) -> None:
    async with world.listening():
        said = await world.run("bash", "-c", block("sh"), user="cli")
        event, heard = await world.next_heard()
    assert said == f"said training.requested about solar: {heard.envelope.id}\n"
    assert event == TrainingRequested(why="new lamp on line 3")
    assert heard.project == "solar"


async def test_python_says_it(world: World) -> None:
    async with world.listening():
        printed = await world.run(sys.executable, "-c", block("python"), user="cli")
        event, heard = await world.next_heard()
    assert event == TrainingRequested(why="new lamp on line 3")
    assert printed.split() == [heard.envelope.id, "loopline.solar.training.requested"]


async def test_a_bare_client_says_it_by_subject_and_body(world: World) -> None:
    (script := world.folder / "camera.sh").write_text(block("bash"))
    (picture := world.folder / "picture.png").write_bytes(png(1))
    async with world.listening():
        printed = await world.run("bash", str(script), str(picture), user="camera")
        event, heard = await world.next_heard()
    assert '"stream":"REQUESTS"' in printed
    assert isinstance(event, PredictionRequested)
    assert event.metadata == {"line": 3}
    assert (heard.project, heard.envelope.type) == ("solar", "loopline.prediction.requested.v1")
    assert heard.envelope.id == derive_id("REQUESTS:1")


async def test_a_bare_client_is_told_what_it_may_not_say(world: World) -> None:
    (script := world.folder / "camera.sh").write_text(block("bash").replace("prediction.requested", "model.promoted"))
    (picture := world.folder / "picture.png").write_bytes(png(1))
    with pytest.raises(AssertionError, match="Permissions Violation"):
        await world.run("bash", str(script), str(picture), user="camera")
