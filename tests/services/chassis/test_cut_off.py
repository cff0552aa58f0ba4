"""A replica whose connection is dead, and a bus that does not answer, against the real nats-server."""

import asyncio
from collections.abc import Iterable
from urllib.parse import urlsplit

import nats.errors
import nats.js.errors
import pytest

from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.training import TrainingFailed, TrainingRequested
from deploy.embedded.servers import HOST
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.heard import Heard
from services.chassis.settings import Settings
from tests.chaos.link import Link
from tests.eventually import eventually
from tests.services.chassis.conftest import Run

pytestmark = pytest.mark.integration


class Replica:
    """A trainer that notes in the common `book` when it begins and when it is stopped, and never ends by itself."""

    def __init__(self, name: str, settings: Settings, book: list[str]) -> None:
        self.service = Service("trainer", settings)
        self.service.hear("trainer-training", {TrainingRequested: self.train, DatasetVersioned: self.train})
        self._name = name
        self._book = book
        self.done = asyncio.Event()

    async def train(self, event: Event, heard: object) -> Iterable[Event]:
        self._book.append(f"{self._name} begins")
        try:
            await self.done.wait()
        except asyncio.CancelledError:
            self._book.append(f"{self._name} is stopped")
            raise
        return [TrainingFailed(reason=self._name)]


def connected(service: Service) -> None:
    assert service.bus.connection.is_connected


async def test_work_behind_a_dead_connection_is_stopped_before_another_replica_gets_it(
    settings: Settings, client: Client, run: Run
) -> None:
    book: list[str] = []
    link = Link([urlsplit(settings.nats_url).port or 0])
    (port,) = await link.start()
    behind = Replica("behind", settings.model_copy(update={"nats_url": f"nats://{HOST}:{port}"}), book)
    other = Replica("other", settings, book)

    def written(words: list[str]) -> None:
        assert book == words

    async with run(behind.service):
        await client.say(TrainingRequested(why="x"), project="solar")
        await eventually(lambda: written(["behind begins"]), 30)
        link.cut("silent")
        async with run(other.service):
            await eventually(lambda: written(["behind begins", "behind is stopped", "other begins"]), 60)
            other.done.set()

            async def settled() -> None:
                assert not any(state.unacked or state.pending for state in await client.consumers())

            await eventually(settled, 30)
        link.mend()
        await eventually(lambda: connected(behind.service), 30)
    await link.stop()
    assert [event.reason async for event, _, _ in client.read(TrainingFailed)] == ["other"]


async def test_a_bus_that_does_not_answer_costs_a_message_no_try(settings: Settings, client: Client, run: Run) -> None:
    away = [
        nats.errors.TimeoutError(),
        nats.js.errors.NoStreamResponseError(),
        nats.js.errors.ServiceUnavailableError(),
    ]
    tries: list[int] = []

    async def train(event: Event, heard: Heard) -> Iterable[Event]:
        tries.append(heard.tries)
        if away:
            raise away.pop()
        return [TrainingFailed(reason="answered")]

    service = Service("trainer", settings)
    service.hear("trainer-training", {TrainingRequested: train, DatasetVersioned: train})

    async def answered() -> None:
        assert [event.reason async for event, _, _ in client.read(TrainingFailed)] == ["answered"]

    async with run(service):
        await client.say(TrainingRequested(why="x"), project="solar")
        await eventually(answered, 30)
    assert tries == [1, 1, 1, 1]
