"""The operator view's subscription against a real nats-server."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.events.feedback import FeedbackGiven, FeedbackRejected
from contracts.events.message import MessageDiscarded
from contracts.topology import DEAD, dead_subject
from deploy.embedded import servers
from deploy.embedded.servers import HOST, free_port
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.replaying import Span, facts
from tests.eventually import eventually
from tests.said import answered, card, deployed, given, judged, versioned
from tests.servers import running
from webapp.read_models.loop import LoopFeed
from webapp.settings import WebappSettings
from webapp.subscription import NotSaid, Subscription

pytestmark = pytest.mark.integration


class Bus:
    """A nats-server that can be killed and started again on its data."""

    def __init__(self, root: Path) -> None:
        self.port = free_port()
        self.settings = WebappSettings(nats_url=f"nats://{HOST}:{self.port}", nats_user="", blobs_root=str(root))
        self._root = root
        self._running = self._start()

    def _start(self) -> AbstractContextManager[int]:
        return running(servers.nats(self._root / "nats", self.port), self._root / "nats.log")

    async def up(self) -> None:
        await asyncio.to_thread(self._running.__enter__)

    async def down(self) -> None:
        await asyncio.to_thread(self._running.__exit__, None, None, None)
        self._running = self._start()


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    made = Bus(tmp_path)
    await made.up()
    connection = await connect(made.settings, "test")
    await provision(connection)
    await connection.close()
    yield made
    await made.down()


@pytest.fixture
def live(bus: Bus) -> Iterator[Subscription]:
    started = Subscription(bus.settings).start()
    yield started
    started.close()


async def shown(live: Subscription, *ids: str) -> None:
    def check() -> None:
        assert {prediction.id for prediction in live.view("solar").predictions} == set(ids), live.link()

    await eventually(check, timeout_s=20)


async def test_what_was_said_before_the_start_is_there_and_what_comes_after_too(bus: Bus) -> None:
    async with Client.connect(bus.settings, "test") as client:
        await client.say(card(), project="solar")
        await client.say(versioned(3), project="solar")
        await client.say(answered("before"), project="solar")
        live = Subscription(bus.settings).start()
        try:
            await shown(live, "before")
            await client.say(answered("after"), project="solar")
            await shown(live, "before", "after")
            assert live.projects() == ("solar",)
            assert live.link().up
            assert next(step.words for step in live.view("solar").turn).startswith("3 with 900 labels")
        finally:
            live.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "subscription"]


async def test_a_word_is_on_the_bus_once_and_a_second_thought_replaces_it(bus: Bus, live: Subscription) -> None:
    async with Client.connect(bus.settings, "test") as client:
        await client.say(card(), project="solar")
        await client.say(answered("a"), project="solar")
        await shown(live, "a")
        prediction = live.view("solar").predictions[0]

        async def give(correct: str, by: str) -> str:
            return (await asyncio.to_thread(live.give_feedback, "solar", prediction, correct, by)).correct

        assert await give("functional", "ines") == "functional"
        assert await give("defective", "ines") == "defective"
        said = [(event, envelope) async for event, envelope, _ in client.read(FeedbackGiven, "solar")]
        assert [(event.prediction_id, event.correct, event.given_by) for event, _ in said] == [
            ("a", "functional", "ines"),
            ("a", "defective", "ines"),
        ]
        refusal = FeedbackRejected(prediction_id="a", reason="the card has no such class")
        await client.say(refusal, project="solar", cause=said[1][1])

        def refused() -> None:
            word = live.feedback("solar", "a")
            assert word is not None
            assert word.rejection == "the card has no such class"

        await eventually(refused)
        assert await give("functional", "bo") == "functional"
        assert live.view("solar").numbers.corrected == 1


async def test_a_lost_bus_is_told_in_words_and_found_again(bus: Bus, live: Subscription) -> None:
    async with Client.connect(bus.settings, "test") as client:
        await client.say(card(), project="solar")
        await client.say(answered("a"), project="solar")
    await shown(live, "a")
    await bus.down()

    def lost() -> None:
        assert not live.link().up
        assert "cannot reach NATS" in live.link().words

    await eventually(lost, timeout_s=20)
    await shown(live, "a")
    with pytest.raises(NotSaid, match="the bus is away"):
        live.give_feedback("solar", live.view("solar").predictions[0], "functional", "ines")
    await bus.up()
    async with Client.connect(bus.settings, "test") as client:
        await client.say(answered("b"), project="solar")
    await shown(live, "a", "b")
    assert live.link().up
    assert live.view("solar").numbers.predictions == 2


async def test_a_bus_that_was_away_for_a_moment_is_heard_again(bus: Bus, live: Subscription) -> None:
    async with Client.connect(bus.settings, "test") as client:
        await client.say(card(), project="solar")
        await client.say(answered("a"), project="solar")
    await shown(live, "a")
    await bus.down()
    await bus.up()
    async with Client.connect(bus.settings, "test") as client:
        await client.say(answered("b"), project="solar")
    await shown(live, "a", "b")


async def test_the_loop_that_is_shown_is_the_one_that_the_stream_alone_gives(bus: Bus, live: Subscription) -> None:
    async with Client.connect(bus.settings, "test") as client:
        await client.say(card(), project="solar")
        for fact in (
            versioned(1),
            judged("failed", "Recall is below its floor."),
            versioned(2),
            judged("passed", "All 3 gates passed."),
            deployed(1),
            given("a", "functional"),
            answered("a"),
        ):
            await client.say(fact, project="solar")
        await shown(live, "a")
        rebuilt = LoopFeed()
        async for event, envelope in facts(client.bus, Span(None, datetime.now(UTC))):
            rebuilt.hear(event, envelope)
    assert [station.last is not None for station in rebuilt.stations("solar")].count(True) == 5

    async def same(subscription: Subscription) -> None:
        await eventually(lambda: _equal(subscription.stations("solar"), rebuilt.stations("solar")), timeout_s=20)

    await same(live)
    # One that starts later, and reads no history at all but the last fact of each type.
    later = Subscription(bus.settings.model_copy(update={"webapp_history_s": 1e-3})).start()
    try:
        await same(later)
        assert later.view("solar").predictions == ()
    finally:
        later.close()


def _equal(one: object, other: object) -> None:
    assert one == other


async def test_a_dead_letter_is_there_at_once_and_goes_when_it_is_discarded(bus: Bus, live: Subscription) -> None:
    def ids(*expected: int) -> None:
        assert tuple(letter.id for letter in live.letters()) == expected, live.link()

    async with Client.connect(bus.settings, "test") as client:
        for number in (1, 2):
            subject = dead_subject("LOOP", "trainer-training")
            headers = {"loopline-dead-subject": "loopline.solar.training.requested"}
            assert await client.bus.store(subject, b"{}", headers, DEAD) == number
        await eventually(lambda: ids(1, 2), timeout_s=20)
        gone = await asyncio.to_thread(live.do, lambda client: client.dead.discard(1, "noise", "ines"))
        assert gone.id == 1
        await eventually(lambda: ids(2), timeout_s=20)
        assert await client.last(MessageDiscarded, "solar")
    with pytest.raises(NotSaid, match="no dead letter 1"):
        await asyncio.to_thread(live.do, lambda client: client.dead.replay(1, "ines"))
