"""The stored facts again: to read, for a service that is new, and to one service alone."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts.events.base import Event
from contracts.events.dataset import DatasetRequested
from contracts.events.feedback import FeedbackGiven
from contracts.events.image import ImageAdded
from contracts.events.prediction import PredictionFailed
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingFailed
from contracts.topology import LOOP, Consumer
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.heard import Heard
from services.chassis.provisioning import consumer_config
from services.chassis.replaying import Span, durables_of, facts, give, heard, stored
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.services.chassis.conftest import Run

pytestmark = pytest.mark.integration


def span(**changes: object) -> Span:
    return replace(Span(None, datetime.now(UTC) + timedelta(minutes=1)), **changes)  # type: ignore[arg-type]


async def told(client: Client, wanted: Span) -> list[str]:
    return [getattr(event, "reason", "") or getattr(event, "why", "") async for event, _ in facts(client.bus, wanted)]


async def test_facts_of_all_streams_come_in_the_order_in_which_they_were_stored(client: Client) -> None:
    for n in range(3):
        await client.say(TrainingFailed(reason=f"loop {n}"), project="solar")
        await client.say(PredictionFailed(prediction_id=str(n), reason=f"prediction {n}"), project="wind")
    await client.bus.jetstream.publish("loopline.solar.training.failed", b"not to be understood")
    assert await told(client, span()) == [f"{of} {n}" for n in range(3) for of in ("loop", "prediction")]
    assert await told(client, span(project="wind")) == ["prediction 0", "prediction 1", "prediction 2"]
    assert await told(client, span(types=(TrainingFailed,))) == ["loop 0", "loop 1", "loop 2"]
    assert await told(client, span(types=(DatasetRequested,))) == []


async def test_a_span_has_a_beginning_and_an_end(client: Client) -> None:
    marks = []
    for n in range(3):
        marks.append(datetime.now(UTC))
        await client.say(TrainingFailed(reason=str(n)), project="solar")
    assert await told(client, span(since=marks[1])) == ["1", "2"]
    assert await told(client, span(until=marks[2])) == ["0", "1"]
    assert await told(client, span(since=marks[1], until=marks[2])) == ["1"]
    assert await told(client, span(since=datetime.now(UTC))) == []


async def test_a_service_that_is_new_reads_all_of_history_where_its_deliver_policy_says_so(client: Client) -> None:
    said = [await client.say(TrainingFailed(reason=str(n)), project="solar") for n in range(300)]
    new = Consumer("curious-reading", LOOP, (TrainingFailed,))
    for row, expected in ((replace(new, deliver="all"), 300), (replace(new, durable="later", deliver="new"), 0)):
        info = await client.bus.jetstream.add_consumer(LOOP, consumer_config(row))
        assert info.num_pending == expected
    # And without any durable, by a consumer that goes away by itself.
    before = await client.bus.jetstream.consumers_info(LOOP)
    assert [envelope.id async for _, envelope in facts(client.bus, span())] == [envelope.id for envelope in said]
    assert len(await client.bus.jetstream.consumers_info(LOOP)) == len(before)


async def test_what_a_service_hears_goes_to_its_durables_alone_and_keeps_its_ids(
    settings: Settings, client: Client, run: Run
) -> None:
    service = Service("labeling-sync", settings)
    ids: list[str] = []

    async def on_requested(event: DatasetRequested, of: Heard) -> Iterable[Event]:
        ids.append(of.envelope.id)
        return [TrainingFailed(reason=event.why)]

    service.hear("labeling-sync-datasets", {DatasetRequested: on_requested})
    (row,) = [row for row in durables_of("labeling-sync") if row.durable == "labeling-sync-datasets"]
    async with run(service):
        said = [await client.say(DatasetRequested(why=str(n)), project="solar") for n in range(2)]
        await client.bus.jetstream.publish(DatasetRequested.subject("solar"), b'{"why": "bare"}')
        await eventually(lambda: has(ids, 3))
        before = await pending(client)
        for message in [message async for message in stored(client.bus, heard(row, span()) or span())]:
            # Twice in one run is once.
            assert await give(client.bus, row, message, "run-1")
            assert await give(client.bus, row, message, "run-1")
        await eventually(lambda: has(ids, 6))

        async def settled() -> None:
            assert (await pending(client))[row.durable] == 0

        await eventually(settled)
    assert ids[:3] == ids[3:]
    assert {envelope.id for envelope in said} <= set(ids)
    # Nobody else was given anything, the log has each request once, and the answers to one request are one.
    assert await pending(client) == before
    assert len([event async for event, _, _ in client.read(DatasetRequested)]) == 3
    assert len([event async for event, _, _ in client.read(TrainingFailed)]) == 3


def has(ids: list[str], count: int) -> None:
    assert len(ids) == count


async def pending(client: Client) -> dict[str, int]:
    return {state.durable: state.pending + state.unacked for state in await client.consumers()}


async def test_a_durable_hears_of_a_span_what_it_hears_anyway() -> None:
    (images,) = [row for row in durables_of("labeling-sync") if row.durable == "labeling-sync-images"]
    assert (heard(images, span()) or span()).types == (ImageAdded,)
    assert (heard(images, span(types=(ImageAdded, ProjectDefined))) or span()).types == (ImageAdded,)
    assert heard(images, span(types=(FeedbackGiven,))) is None
    assert durables_of("predictor") == []
