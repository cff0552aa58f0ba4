"""The pull loop, against the real nats-server."""

from collections.abc import Iterable
from typing import Any

import pytest

from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.training import TrainingFailed, TrainingRequested
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.heard import Heard
from services.chassis.received import Received
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.services.chassis.conftest import Run

pytestmark = pytest.mark.integration


async def test_a_message_that_breaks_its_delivery_comes_again_and_the_others_go_on(
    settings: Settings, client: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = await client.bus.jetstream.consumer_info("LOOP", "trainer-training")
    info.config.ack_wait = 1.0
    await client.bus.jetstream.add_consumer("LOOP", info.config)
    read, broken = Received.of, [RuntimeError("a fault of ours")]

    def of(*given: Any) -> Received:
        if broken:
            raise broken.pop()
        return read(*given)

    monkeypatch.setattr(Received, "of", of)
    service = Service("trainer", settings)

    async def on_requested(event: TrainingRequested, heard: Heard) -> Iterable[Event]:
        return [TrainingFailed(reason=event.why)]

    service.hear("trainer-training", {TrainingRequested: on_requested, DatasetVersioned: on_requested})
    async with run(service):
        for why in ("breaks", "does not"):
            await client.say(TrainingRequested(why=why), project="solar")

        async def answered() -> None:
            said = [event.reason async for event, _, _ in client.read(TrainingFailed)]
            assert said == ["does not", "breaks"]

        await eventually(answered, timeout_s=20)
