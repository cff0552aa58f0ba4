"""Delivery, against the real nats-server."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

import pytest

from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.prediction import PredictionFailed, PredictionRequested
from contracts.events.training import TrainingFailed, TrainingRequested
from contracts.topology import DEAD, consumer
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.errors import Busy, Rejected
from services.chassis.heard import Heard
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.services.chassis.conftest import Run

pytestmark = pytest.mark.integration


class Trainer:
    """Stands for a service: what it heard, and what it does then."""

    def __init__(self, settings: Settings) -> None:
        self.heard: list[tuple[TrainingRequested, Heard]] = []
        self.fails: list[BaseException] = []
        self.holds = asyncio.Event()
        self.holds.set()
        self.cancelled = 0
        self.service = Service("trainer", settings)
        self.service.hear("trainer-training", {TrainingRequested: self.on_requested, DatasetVersioned: self.on_dataset})

    def change(self, **row: Any) -> None:
        """Other waits than the topology's, so that a test is over sooner."""
        bound = self.service.deliveries["trainer-training"]
        bound.consumer = replace(bound.consumer, **row)

    async def on_requested(self, event: TrainingRequested, heard: Heard) -> Iterable[Event]:
        self.heard.append((event, heard))
        if self.fails:
            raise self.fails.pop(0)
        try:
            await self.holds.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [TrainingFailed(reason=event.why)]

    async def on_dataset(self, event: DatasetVersioned, heard: Heard) -> AsyncIterator[Event]:
        yield TrainingFailed(reason=event.dataset_id)


@pytest.fixture
def trainer(settings: Settings) -> Trainer:
    return Trainer(settings)


async def answers(client: Client) -> list[str]:
    return [event.reason async for event, _, _ in client.read(TrainingFailed)]


async def unacked(client: Client) -> int:
    return sum(state.unacked + state.pending for state in await client.consumers())


async def settled(client: Client) -> None:
    assert await unacked(client) == 0


async def test_a_fact_is_answered_once_and_the_answer_names_its_cause(
    trainer: Trainer, client: Client, run: Run
) -> None:
    async with run(trainer.service):
        asked = await client.say(TrainingRequested(why="x"), project="solar")

        async def answered() -> None:
            found = await client.last(TrainingFailed, "solar")
            assert found
            assert (found[1].causation_id, found[1].correlation_id) == (asked.id, asked.correlation_id)
            await settled(client)

        await eventually(answered)
    assert await answers(client) == ["x"]


async def test_an_error_is_tried_again_and_then_no_trace_of_it_is_left(
    trainer: Trainer, client: Client, run: Run
) -> None:
    trainer.fails = [RuntimeError("MLflow is away")]
    async with run(trainer.service):
        await client.say(TrainingRequested(why="x"), project="solar")

        async def answered() -> None:
            assert await answers(client) == ["x"]
            await settled(client)

        await eventually(answered)
    assert [heard.tries for _, heard in trainer.heard] == [1, 2]
    assert len({heard.owner for _, heard in trainer.heard}) == 1
    assert await client.dead_count() == 0


@pytest.mark.parametrize(
    ("subject", "headers", "body", "word"),
    [
        ("loopline.solar.training.requested", {}, b'{"seed": "many"}', "seed"),
        ("loopline.solar.training.requested", {}, b"\xff\x00", "schema"),
        ("loopline.solar.training.requested", {"ce-type": "loopline.training.requested.v9"}, b"{}", "upgrade"),
        ("loopline.solar.training.requested", {"ce-hops": "33"}, b"{}", "loop"),
        ("loopline.UPPER.training.requested", {}, b"{}", "subject"),
    ],
)
async def test_what_cannot_be_understood_is_a_dead_letter_with_its_reason(
    trainer: Trainer, client: Client, run: Run, subject: str, headers: dict[str, str], body: bytes, word: str
) -> None:
    async with run(trainer.service):
        await client.bus.jetstream.publish(subject, body, headers=headers)

        async def buried() -> None:
            assert await client.dead_count() == 1
            await settled(client)

        await eventually(buried)
    letter = await client.bus.jetstream.get_last_msg(DEAD, "loopline-dead.LOOP.trainer-training")
    assert letter.data == body
    assert letter.headers
    assert word in letter.headers["loopline-dead-reason"]
    assert letter.headers["loopline-dead-subject"] == subject
    assert trainer.heard == []


async def test_a_rejected_or_exhausted_message_is_a_dead_letter_and_is_not_tried_for_ever(
    trainer: Trainer, client: Client, run: Run
) -> None:
    trainer.change(pauses_s=(0.05, 0.05))
    trainer.fails = [RuntimeError("a"), RuntimeError("b"), RuntimeError("c"), Rejected("no such recipe")]
    async with run(trainer.service):
        await client.say(TrainingRequested(why="exhausted"), project="solar")
        await eventually(lambda: _has(trainer, 3))
        await client.say(TrainingRequested(why="rejected"), project="solar")

        async def buried() -> None:
            assert await client.dead_count() == 2
            await settled(client)

        await eventually(buried)
    assert [event.why for event, _ in trainer.heard] == ["exhausted"] * 3 + ["rejected"]
    assert await answers(client) == []


def _has(trainer: Trainer, count: int) -> None:
    assert len(trainer.heard) == count


async def test_busy_waits_without_becoming_a_dead_letter(trainer: Trainer, client: Client, run: Run) -> None:
    trainer.fails = [Busy("another has it")]
    async with run(trainer.service):
        await client.say(TrainingRequested(why="x"), project="solar")

        async def answered() -> None:
            assert await answers(client) == ["x"]

        await eventually(answered)


async def test_long_work_keeps_its_message_and_another_replica_does_not_get_it(
    settings: Settings, client: Client, run: Run
) -> None:
    one, two = Trainer(settings), Trainer(settings)
    for trainer in (one, two):
        trainer.holds.clear()
    info = await client.bus.jetstream.consumer_info("LOOP", "trainer-training")
    info.config.ack_wait = 0.6
    await client.bus.jetstream.add_consumer("LOOP", info.config)
    for trainer in (one, two):
        trainer.change(ack_wait_s=0.6)
    async with run(one.service), run(two.service):
        await client.say(TrainingRequested(why="x"), project="solar")
        await eventually(lambda: _heard_by(one, two, 1))
        # Several times the wait for an ack, in which a message that is not kept would be handed out again.
        await asyncio.sleep(2.0)
        _heard_by(one, two, 1)
        for trainer in (one, two):
            trainer.holds.set()
        await eventually(lambda: settled(client))
    assert await answers(client) == ["x"]


def _heard_by(one: Trainer, two: Trainer, count: int) -> None:
    assert len(one.heard) + len(two.heard) == count


async def test_a_service_that_stops_hands_back_what_it_works_on(
    settings: Settings, client: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.chassis.app.GRACE_S", 0.2)
    leaving, staying = Trainer(settings), Trainer(settings)
    leaving.holds.clear()
    async with run(leaving.service):
        await client.say(TrainingRequested(why="x"), project="solar")
        await eventually(lambda: _has(leaving, 1))
    assert leaving.cancelled == 1
    async with run(staying.service):

        async def answered() -> None:
            assert await answers(client) == ["x"]

        # Long before the wait for an ack would have ended.
        await eventually(answered, timeout_s=5)


async def test_many_at_once_are_in_flight_together(settings: Settings, client: Client, run: Run) -> None:
    service = Service("predictor", settings)
    together = asyncio.Barrier(consumer("predictor-requests").at_once)

    async def on_requested(event: PredictionRequested, heard: Heard) -> Iterable[Event]:
        await together.wait()
        return [PredictionFailed(prediction_id=heard.envelope.id, reason="x")]

    service.hear("predictor-requests", {PredictionRequested: on_requested})
    async with run(service):
        for _ in range(2 * consumer("predictor-requests").at_once):
            await client.say(PredictionRequested(image_base64="aa"), project="solar")

        async def answered() -> None:
            found = [event async for event, _, _ in client.read(PredictionFailed)]
            assert len(found) == 2 * consumer("predictor-requests").at_once
            await settled(client)

        await eventually(answered)
