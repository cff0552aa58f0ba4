"""A system outside that is away: its messages wait in hand, whatever the number of tries the topology grants."""

from collections.abc import Iterable

import pytest

from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.training import TrainingFailed, TrainingRequested
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.errors import Away
from services.chassis.heard import Heard
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.services.chassis.conftest import Run

pytestmark = pytest.mark.integration

AWAY = "MLflow at http://127.0.0.1:5000 does not answer"


class Trainer:
    """A service that needs MLflow, which is away until it is said to be there."""

    def __init__(self, settings: Settings) -> None:
        self.away = True
        self.tries: list[int] = []
        self.service = Service("trainer", settings)
        self.service.hear("trainer-training", {TrainingRequested: self.on_requested, DatasetVersioned: self.on_dataset})

    async def on_requested(self, event: TrainingRequested, heard: Heard) -> Iterable[Event]:
        self.tries.append(heard.tries)
        if self.away:
            raise Away(AWAY)
        return [TrainingFailed(reason=event.why)]

    async def on_dataset(self, event: DatasetVersioned, heard: Heard) -> Iterable[Event]:
        return []


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.delivery._AWAY_PAUSES_S", (0.01,))


@pytest.mark.usefixtures("no_pauses")
async def test_work_waits_for_who_is_away_and_is_done_when_he_is_back(
    settings: Settings, client: Client, run: Run
) -> None:
    trainer = Trainer(settings)
    async with run(trainer.service):
        await client.say(TrainingRequested(why="x"), project="solar")

        async def has_waited() -> None:
            assert len(trainer.tries) > 30
            assert AWAY in (await trainer.service.health.state())["work of trainer-training"]

        await eventually(has_waited)
        trainer.away = False

        async def is_done() -> None:
            assert [event.reason async for event, _, _ in client.read(TrainingFailed)] == ["x"]
            assert (await trainer.service.health.state())["work of trainer-training"] == "ok"
            assert [state for state in await client.consumers() if state.pending or state.unacked] == []

        await eventually(is_done)
    assert set(trainer.tries) == {1}
    assert await client.dead_count() == 0


async def test_what_waits_is_handed_back_when_the_service_stops(settings: Settings, client: Client, run: Run) -> None:
    waiting, back = Trainer(settings), Trainer(settings)
    back.away = False
    async with run(waiting.service):
        await client.say(TrainingRequested(why="x"), project="solar")

        async def waits() -> None:
            assert waiting.tries

        await eventually(waits)
    async with run(back.service):

        async def is_done() -> None:
            assert [event.reason async for event, _, _ in client.read(TrainingFailed)] == ["x"]

        await eventually(is_done)
    assert back.tries == [2]
