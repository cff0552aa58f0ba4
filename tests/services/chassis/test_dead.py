"""Dead letters and replay, against the real nats-server."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import nats.js.errors
import pytest
from nats.js.api import DiscardPolicy

from contracts.envelope import derive_id
from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.message import MessageDeadLettered, MessageDiscarded, MessageReplayed
from contracts.events.training import TrainingFailed, TrainingRequested
from contracts.topology import DEAD, LOOP
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.dead import Chosen, DeadLetter, NoSuchLetter
from services.chassis.errors import Rejected
from services.chassis.heard import Heard
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.services.chassis.conftest import Run

pytestmark = pytest.mark.integration

SUBJECT = "loopline.solar.training.requested"


class Trainer:
    """A service that fails as long as it is told to."""

    def __init__(self, settings: Settings) -> None:
        self.heard: list[Heard] = []
        self.fails: Exception | None = Rejected("größer als …\x1b[2J\nerlaubt")
        self.service = Service("trainer", settings)
        self.service.hear("trainer-training", {TrainingRequested: self.on_requested, DatasetVersioned: self.on_dataset})

    async def on_requested(self, event: TrainingRequested, heard: Heard) -> Iterable[Event]:
        self.heard.append(heard)
        if self.fails:
            raise self.fails
        return [TrainingFailed(reason=event.why)]

    async def on_dataset(self, event: DatasetVersioned, heard: Heard) -> AsyncIterator[Event]:
        yield TrainingFailed(reason=event.dataset_id)


@pytest.fixture
async def trainer(settings: Settings, run: Run) -> AsyncIterator[Trainer]:
    made = Trainer(settings)
    started, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with run(made.service):
            started.set()
            await over.wait()

    # In a task of its own: the lifespan must be left by whoever entered it.
    living = asyncio.create_task(live())
    await asyncio.wait({living, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    yield made
    over.set()
    await living


async def letters(client: Client, count: int, chosen: Chosen | None = None) -> list[DeadLetter]:
    found: list[DeadLetter] = []

    async def buried() -> None:
        found[:] = [letter async for letter in client.dead.read(chosen or Chosen())]
        assert len(found) == count
        assert (
            sum(state.unacked + state.pending for state in await client.consumers() if "trainer" in state.durable) == 0
        )

    await eventually(buried)
    return found


async def all_of(client: Client, type_: type[Event]) -> list[Event]:
    return [event async for event, _, _ in client.read(type_)]


async def test_a_dead_letter_has_all_that_one_needs_and_people_are_told(trainer: Trainer, client: Client) -> None:
    asked = await client.say(TrainingRequested(why="x"), project="solar")
    (letter,) = await letters(client, 1)
    assert (letter.durable, letter.service, letter.stream, letter.subject) == (
        "trainer-training", "trainer", LOOP, SUBJECT
    )  # fmt: skip
    assert letter.envelope
    assert (letter.envelope.id, letter.type, letter.project, letter.tries) == (asked.id, asked.type, "solar", 1)
    assert letter.reason == "Rejected: größer als …\x1b[2J erlaubt"
    assert "in on_requested\n" in letter.stack
    assert TrainingRequested.model_validate_json(letter.body).why == "x"
    said = await client.last(MessageDeadLettered, "solar")
    assert said
    event, envelope = said
    assert (event.letter, event.sequence, event.type, event.reason) == (
        letter.id, letter.sequence, asked.type, letter.reason
    )  # fmt: skip
    assert (envelope.causation_id, envelope.correlation_id) == (asked.id, asked.correlation_id)


async def test_replayed_it_goes_to_the_durable_that_failed_with_the_id_and_the_owner_that_it_had(
    trainer: Trainer, client: Client
) -> None:
    asked = await client.say(TrainingRequested(why="x"), project="solar")
    (letter,) = await letters(client, 1)
    trainer.fails = None
    await asyncio.gather(*(client.dead.replay(letter.id, by="ines") for _ in range(2)))
    assert await letters(client, 0) == []
    assert [event.reason for event in await all_of(client, TrainingFailed)] == ["x"]  # type: ignore[attr-defined]
    found = await client.last(TrainingFailed, "solar")
    assert found
    assert found[1].causation_id == asked.id
    first, second = trainer.heard
    assert first.owner == second.owner == f"{LOOP}:{letter.sequence}"
    assert (first.envelope.id, first.envelope.time) == (second.envelope.id, second.envelope.time)
    # The audit log has the request once.
    assert len(await all_of(client, TrainingRequested)) == 1
    assert await all_of(client, MessageReplayed) == [
        MessageReplayed(letter=letter.id, durable="trainer-training", type=asked.type, replayed_by="ines")
    ]
    with pytest.raises(NoSuchLetter, match=f"no dead letter {letter.id}"):
        await client.dead.replay(letter.id, by="ines")


async def test_an_id_that_came_from_the_position_survives_a_replay_that_fails_and_one_that_does_not(
    trainer: Trainer, client: Client
) -> None:
    ack = await client.bus.jetstream.publish(SUBJECT, b'{"why": "bare"}')
    (first,) = await letters(client, 1)
    await client.dead.replay(first.id, by="ines")
    (second,) = await letters(client, 1, Chosen(since=first.at))
    assert second.id != first.id
    trainer.fails = None
    await client.dead.replay(second.id, by="ines")
    await letters(client, 0)
    assert {heard.envelope.id for heard in trainer.heard} == {derive_id(f"{LOOP}:{ack.seq}")}
    assert {heard.owner for heard in trainer.heard} == {f"{LOOP}:{ack.seq}"}
    assert len(await all_of(client, TrainingFailed)) == 1
    assert len(await all_of(client, MessageDeadLettered)) == 2


async def test_what_is_no_event_is_told_of_where_its_subject_names_a_project(trainer: Trainer, client: Client) -> None:
    await client.bus.jetstream.publish(SUBJECT, b"{}", headers={"ce-type": "nonsense"})
    await client.bus.jetstream.publish("loopline.UPPER.training.requested", b"\xff")
    named, nameless = await letters(client, 2)
    assert (named.project, named.type, nameless.project) == ("solar", "", "")
    assert nameless.body == b"\xff"
    (told,) = await all_of(client, MessageDeadLettered)
    assert isinstance(told, MessageDeadLettered)
    assert (told.letter, told.type) == (named.id, "")
    for letter in (named, nameless):
        await client.dead.discard(letter.id, why="noise", by="ines")
    assert await client.dead_count() == 0
    assert len(await all_of(client, MessageDiscarded)) == 1


async def test_a_message_as_large_as_the_server_takes_does_not_cost_the_service_its_connection(
    trainer: Trainer, client: Client
) -> None:
    body = b'{"why": "' + b"a" * (client.bus.connection.max_payload - 200) + b'"}'
    await client.bus.jetstream.publish(SUBJECT, body)
    (letter,) = await letters(client, 1)
    assert letter.whole_bytes == len(body)
    assert body.startswith(letter.body)
    with pytest.raises(Rejected, match="only the beginning"):
        await client.dead.replay(letter.id, by="ines")
    trainer.fails = None
    await client.say(TrainingRequested(why="next"), project="solar")

    async def answered() -> None:
        assert len(await all_of(client, TrainingFailed)) == 1

    await eventually(answered)


async def test_letters_are_found_by_project_service_type_and_time(trainer: Trainer, client: Client) -> None:
    for project in ("solar", "wind"):
        await client.say(TrainingRequested(why=project), project=project)
        solar_and_wind = await letters(client, 1 if project == "solar" else 2)
    solar, wind = solar_and_wind

    async def ids(chosen: Chosen) -> list[int]:
        return [letter.id async for letter in client.dead.read(chosen)]

    assert await ids(Chosen(project="wind")) == [wind.id]
    assert await ids(Chosen(since=wind.at)) == [wind.id]
    assert await ids(Chosen(service="trainer", type="training.requested")) == [solar.id, wind.id]
    assert await ids(Chosen(service="registry")) == []
    assert await ids(Chosen(type="dataset.versioned")) == []


async def test_a_letter_that_was_put_there_by_hand_can_be_read_and_discarded(client: Client) -> None:
    ack = await client.bus.jetstream.publish("loopline-dead.LOOP.trainer-training", b"?", stream=DEAD)
    letter = await client.dead.find(ack.seq)
    assert (letter.durable, letter.stream, letter.reason, letter.envelope) == ("trainer-training", LOOP, "", None)
    await client.dead.discard(letter.id, why="noise", by="ines")
    with pytest.raises(NoSuchLetter):
        await client.dead.discard(letter.id, why="noise", by="ines")
    with pytest.raises(nats.js.errors.NotFoundError):
        await client.bus.jetstream.get_msg(DEAD, ack.seq, direct=True)


async def test_where_there_is_no_room_for_a_dead_letter_its_message_is_kept_until_there_is(
    trainer: Trainer, client: Client
) -> None:
    full = (await client.bus.jetstream.stream_info(DEAD)).config
    full.max_msgs, full.discard = 1, DiscardPolicy.NEW
    await client.bus.jetstream.update_stream(full)
    info = await client.bus.jetstream.consumer_info(LOOP, "trainer-training")
    info.config.ack_wait = 1.0
    await client.bus.jetstream.add_consumer(LOOP, info.config)
    bound = trainer.service.deliveries["trainer-training"]
    bound.consumer = replace(bound.consumer, ack_wait_s=1.0)
    await client.say(TrainingRequested(why="first"), project="solar")
    (first,) = await letters(client, 1)
    await client.say(TrainingRequested(why="second"), project="solar")
    # Several times the wait for an ack, in which a message that is not kept would be handed out again.
    await asyncio.sleep(4.0)
    assert [letter.id async for letter in client.dead.read()] == [first.id]
    assert len(trainer.heard) == 2
    await client.dead.discard(first.id, why="room", by="ines")
    (second,) = await letters(client, 1)
    assert b"second" in second.body
    assert len(trainer.heard) == 2
