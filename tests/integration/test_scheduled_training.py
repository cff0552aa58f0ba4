"""A training by schedule, with two replicas of the trainer: every firing has one outcome, and no two train at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest

from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.training import TrainingCancelled, TrainingCompleted, TrainingFailed, TrainingRequested
from services.chassis.client import Client
from services.chassis.settings import Settings
from services.trainer.app import build
from services.trainer.job import Job, Made
from services.trainer.ports import Step
from services.trainer.settings import TrainerSettings
from tests.eventually import eventually
from tests.said import BLOB, CLASSES, MODEL, card
from tests.services.chassis.conftest import Run, client, run, settings

pytestmark = pytest.mark.integration

__all__ = ["client", "run", "settings"]

DATASET = DatasetVersioned(
    dataset_id="1" * 16,
    number=1,
    manifest=BLOB,
    classes=CLASSES,
    counts=tuple(ClassCount(label=name, train=9, validation=2, test=4) for name in CLASSES),
    labels=30,
    new_labels=30,
)


class HeldTrainer:
    """Trains for as long as `go` is not set, and counts how many do at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.now = self.most = self.trained = 0

    async def train(self, job: Job) -> AsyncGenerator[Step | Made]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.go.wait()
            self.trained += 1
            yield Made(run_id=f"run-{self.trained}", model=MODEL, metrics={})
        finally:
            self.now -= 1

    async def cancel(self, project: str, claim: str, reason: str) -> bool:
        return True


async def test_every_firing_has_one_outcome_and_no_two_train_at_once(
    client: Client, settings: Settings, run: Run
) -> None:
    trainer = HeldTrainer()
    trainer.go.set()
    told = TrainerSettings.model_validate(settings.model_dump())
    async with AsyncExitStack() as replicas:
        for _ in range(2):
            await replicas.enter_async_context(run(build(told, trainer)))
        await client.say(card(), project="solar")
        await client.say(DATASET, project="solar")

        async def count_of(event_type: type) -> int:
            return len([1 async for _ in client.read(event_type, "solar")])

        async def the_dataset_is_trained() -> None:
            assert await count_of(TrainingCompleted) == 1

        await eventually(the_dataset_is_trained, 30)
        trainer.go.clear()
        asked = TrainingRequested(again=True, unless_training=True, why="schedule often")
        await client.schedules.add("solar", "often", asked, "@every 1s")

        async def some_were_left_out() -> None:
            assert trainer.now == 1
            assert await count_of(TrainingCancelled) >= 2

        await eventually(some_were_left_out, 60)
        await client.schedules.remove("solar", "often")
        trainer.go.set()

        async def all_have_an_outcome() -> None:
            firings = {envelope.id async for _, envelope, _ in client.read(TrainingRequested, "solar")}
            outcomes: Counter[str] = Counter()
            for event_type in (TrainingCompleted, TrainingCancelled, TrainingFailed):
                async for _, envelope, _ in client.read(event_type, "solar"):
                    outcomes[envelope.causation_id or ""] += 1
            assert {id_: outcomes[id_] for id_ in firings} == dict.fromkeys(firings, 1)

        await eventually(all_have_an_outcome, 30)
        assert trainer.most == 1
        reasons = {event.reason async for event, _, _ in client.read(TrainingCancelled, "solar")}
        assert reasons == {"another training of solar was under way"}
        assert await client.dead_count() == 0
