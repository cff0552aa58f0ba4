"""A message that a service gave up on, and what people do about it: processes, the command line, a real bus."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.events.base import Event
from contracts.events.message import MessageDeadLettered, MessageReplayed
from contracts.events.training import TrainingFailed, TrainingRequested
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.dead import Chosen
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.eventually import eventually

pytestmark = pytest.mark.integration

WAIT_S = 60.0
ROOT = Path(__file__).parents[2]

# A trainer whose disk is full for as long as there is a file `full`. Each training is a line in the file `effects`.
SERVICE = """
import sys
from pathlib import Path
from contracts.events.dataset import DatasetVersioned
from contracts.events.training import TrainingFailed, TrainingRequested
from services.chassis.app import Service
from services.chassis.errors import Rejected
from services.chassis.settings import Settings

folder = Path(sys.argv[1])
service = Service("trainer", Settings())

async def on_requested(event, heard):
    done = await service.claims.take(f"effect.{heard.envelope.id}", heard.owner)
    if not done:
        if (folder / "full").exists():
            # With the claim in its hands, as one that is killed there: its replay must have it again.
            raise Rejected("no space left on /data")
        with (folder / "effects").open("a") as effects:
            effects.write(f"{heard.envelope.id}\\n")
        await service.claims.finish(f"effect.{heard.envelope.id}", heard.owner, {"reason": event.why})
    return [TrainingFailed(reason=event.why)]

async def on_versioned(event, heard):
    return []

service.hear("trainer-training", {TrainingRequested: on_requested, DatasetVersioned: on_versioned})
service.run()
"""


@dataclass(frozen=True)
class Place:
    """Where the service and the command line run."""

    settings: Settings
    folder: Path

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        environment = {**os.environ, "LOOPLINE_NATS_URL": self.settings.nats_url, "PYTHONPATH": str(ROOT)}
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            sys.executable, *words, env=environment, cwd=self.folder, stdout=pipe, stderr=pipe
        )

    async def loopline(self, *words: str) -> Any:
        (answer,) = await self.lines(*words)
        return answer

    async def lines(self, *words: str) -> list[Any]:
        process = await self.start("-m", "services.cli", *words, "--json")
        out, err = await asyncio.wait_for(process.communicate(), WAIT_S)
        assert process.returncode == 0, err.decode()
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
async def place(nats_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    settings = Settings(nats_url=nats_url, blobs_root=str(tmp_path / "blobs"))
    connection = await connect(settings, "test")
    await provision(connection)
    await connection.close()
    made = Place(settings, tmp_path)
    (tmp_path / "full").touch()
    trainer = await made.start("-c", SERVICE, str(tmp_path))
    yield made
    trainer.terminate()
    await asyncio.wait_for(trainer.communicate(), WAIT_S)


async def test_a_message_that_failed_is_replayed_twice_by_accident_and_has_one_effect(place: Place) -> None:
    project = "dead-letters"
    async with Client.connect(place.settings, "test") as client:
        asked = await client.say(TrainingRequested(why="new lamp"), project=project)

        async def given_up() -> None:
            assert await client.last(MessageDeadLettered, project)

        await eventually(given_up, timeout_s=WAIT_S)
        (letter,) = await place.loopline("dead", "list", "--project", project)
        assert (letter["service"], letter["event_id"]) == ("trainer", asked.id)
        assert letter["reason"] == "Rejected: no space left on /data"
        whole = await place.loopline("dead", "show", str(letter["id"]))
        assert whole["body"]["why"] == "new lamp"
        assert "on_requested" in whole["stack"]
        told = await client.last(MessageDeadLettered, project)
        assert told
        assert (told[0].letter, told[1].causation_id) == (letter["id"], asked.id)

        before = {state.durable: state.pending for state in await client.consumers()}
        (place.folder / "full").unlink()
        replays = [await place.start("-m", "services.cli", "dead", "replay", str(letter["id"])) for _ in range(2)]
        for replay in replays:
            await asyncio.wait_for(replay.communicate(), WAIT_S)
        assert 0 in [replay.returncode for replay in replays]

        async def answered() -> None:
            assert len(await said(client, TrainingFailed, project)) == 1
            assert all(state.unacked == 0 for state in await client.consumers())

        await eventually(answered, timeout_s=WAIT_S)
        assert (place.folder / "effects").read_text().split() == [asked.id]
        assert [letter async for letter in client.dead.read(Chosen(project=project))] == []
        assert len(await said(client, TrainingRequested, project)) == 1
        assert len(await said(client, MessageReplayed, project)) == 1
        # Nobody else was given anything.
        assert {state.durable: state.pending for state in await client.consumers()} == before


async def said(client: Client, type_: type[Event], project: str) -> list[Event]:
    return [event async for event, _, _ in client.read(type_, project)]


async def test_the_facts_of_a_span_are_read_again_and_given_to_one_service_without_a_second_effect(
    place: Place,
) -> None:
    project = "replayed"
    (place.folder / "full").unlink()
    async with Client.connect(place.settings, "test") as client:
        asked = [await client.say(TrainingRequested(why=str(n)), project=project) for n in range(3)]

        async def answered() -> None:
            assert len(await said(client, TrainingFailed, project)) == 3

        await eventually(answered, timeout_s=WAIT_S)
        stored = await place.lines("replay", "--since", "start", "--project", project)
        assert [fact["type"] for fact in stored[:1] + stored[-1:]] == [TrainingRequested.TYPE, TrainingFailed.TYPE]
        assert [fact["id"] for fact in stored if fact["type"] == TrainingRequested.TYPE] == [said.id for said in asked]

        words = ("replay", "--since", "1h", "--to", "trainer", "--project", project)
        expected = {"service": "trainer", "counts": {"trainer-training": {"training.requested": 3}}}
        assert await place.loopline(*words) == {**expected, "given": 0}
        before = await position(client)
        assert await place.loopline(*words, "--yes") == {**expected, "given": 3}

        async def heard_again() -> None:
            info = await client.bus.jetstream.consumer_info("LOOP", "trainer-training")
            assert (info.num_pending, info.num_ack_pending) == (0, 0)
            assert await position(client) == before + 3

        await eventually(heard_again, timeout_s=WAIT_S)
        assert (place.folder / "effects").read_text().split() == [envelope.id for envelope in asked]
        assert len(await said(client, TrainingFailed, project)) == 3
        assert len(await said(client, TrainingRequested, project)) == 3


async def position(client: Client) -> int:
    """How many messages the trainer has had."""
    info = await client.bus.jetstream.consumer_info("LOOP", "trainer-training")
    return int(info.ack_floor.consumer_seq) if info.ack_floor else 0
