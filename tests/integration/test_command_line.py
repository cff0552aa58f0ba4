"""`loopline` as a process, against a real bus."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.events.image import ImageAdded
from contracts.events.project import ProjectDefined
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.services.cli.world import png

pytestmark = pytest.mark.integration

WAIT_S = 30.0
PROJECT = "command-line"


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class CommandLine:
    """Runs `loopline` in a folder of its own."""

    nats_url: str
    folder: Path

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        environment = {
            **os.environ,
            "LOOPLINE_NATS_URL": self.nats_url,
            "LOOPLINE_BLOBS_ROOT": str(self.folder / "blobs"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "services.cli", *words)
        return await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=self.folder, stdout=pipe, stderr=pipe
        )

    async def __call__(self, *words: str) -> Ended:
        process = await self.start(*words)
        out, err = await asyncio.wait_for(process.communicate(), WAIT_S)
        return Ended(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def settings(nats_url: str, tmp_path: Path) -> Settings:
    settings = Settings(nats_url=nats_url, blobs_root=str(tmp_path / "blobs"))
    await asyncio.to_thread(Path(settings.blobs_root).mkdir)
    connection = await connect(settings, "test")
    await provision(connection)
    await connection.close()
    return settings


@pytest.fixture
def loopline(settings: Settings, tmp_path: Path) -> CommandLine:
    for seed in range(6):
        folder = tmp_path / "cells" / ("good" if seed % 2 else "bad")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed}.png").write_bytes(png(seed))
    return CommandLine(settings.nats_url, tmp_path)


async def test_import_is_watched_and_its_state_is_asked_for(loopline: CommandLine, settings: Settings) -> None:
    watching = await loopline.start("watch", "--project", PROJECT, "--since", "1m", "--count", "7", "--json")
    imported = await loopline("import", "cells", "--project", PROJECT, "--json")
    assert json.loads(imported.out)["labels"] == {"bad": 3, "good": 3}
    out, _ = await asyncio.wait_for(watching.communicate(), WAIT_S)
    seen = [json.loads(line) for line in out.decode().splitlines()]
    assert [event["type"] for event in seen] == [ProjectDefined.TYPE, *[ImageAdded.TYPE] * 6]

    again = await loopline("import", "cells", "--project", PROJECT, "--json")
    assert json.loads(again.out)["imported"] == 6
    async with Client.connect(settings, "test") as client:
        assert len([event async for event, _, _ in client.read(ImageAdded, PROJECT)]) == 6

    asked = await loopline("dataset", "request", "--project", PROJECT)
    assert asked.code == 0
    status = json.loads((await loopline("status", "--json")).out)
    assert set(status["projects"][PROJECT].values()) == {None}
    waiting = {consumer["durable"]: consumer["pending"] for consumer in status["consumers"]}
    assert waiting["labeling-sync-images"] >= 6


async def test_predict_without_a_predictor_says_so(loopline: CommandLine) -> None:
    await loopline("import", "cells", "--project", PROJECT)
    ended = await loopline("predict", "cells/good/1.png", "--project", PROJECT)
    assert (ended.code, ended.err.count("\n"), ended.out) == (2, 1, "")
    assert "no predictor" in ended.err


async def test_bus_that_is_not_there_is_one_line_and_exit_code_two(tmp_path: Path) -> None:
    ended = await CommandLine("nats://127.0.0.1:9", tmp_path)("status")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "loopline: cannot reach NATS at nats://127.0.0.1:9: is the stack up? ./taskw up\n"


async def test_reader_that_goes_away_gets_no_complaint(loopline: CommandLine) -> None:
    await loopline("import", "cells", "--project", PROJECT)
    process = await loopline.start("watch", "--since", "1d", "--json", "--count", "5")
    assert process.stdout
    assert process.stderr
    # As `| head -n 1` does.
    await process.stdout.readline()
    process.stdout._transport.close()  # type: ignore[attr-defined]
    await asyncio.wait_for(process.wait(), WAIT_S)
    assert await process.stderr.read() == b""
