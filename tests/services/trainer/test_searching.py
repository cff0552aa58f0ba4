"""A search as the trainer's handlers see it: one job, whoever helps."""

import asyncio
import re
from typing import Any

import pytest

from contracts.events.base import Event
from contracts.events.training import (
    TrainingCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingProgressed,
    TrainingRequested,
    TrainingStarted,
)
from contracts.search import Budget, Choice, FloatRange, IntRange, Search
from services.chassis.errors import Busy
from services.trainer import cancelling
from tests.eventually import eventually
from tests.services.trainer.world import World

SEARCH = Search(
    space={"l2": FloatRange(kind="float", low=1e-5, high=0.1, log=True)}, budget=Budget(trials=3, minutes=None)
)
WISH = TrainingRequested(search=SEARCH, parameters={"image_px": 64, "l2": 0.5})
HELP = WISH.model_copy(update={"helps": "e1"})


async def test_a_search_is_one_training_whose_result_has_the_parameters_that_were_found() -> None:
    world = World()
    world.trainer.parameters = {"image_px": 64, "l2": 0.02}
    started, *_, completed = await world.hears(WISH)
    (job,) = world.trainer.jobs
    assert job.plan.search == SEARCH
    assert (job.plan.parameters["image_px"], "l2" in job.plan.parameters) == (64, False)
    assert isinstance(started, TrainingStarted)
    assert isinstance(completed, TrainingCompleted)
    assert completed.plan == started.plan.model_copy(update={"parameters": {"image_px": 64, "l2": 0.02}})
    assert await world.hears(WISH, "e2", "LOOP:9") == [completed]


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        ({"l3": FloatRange(kind="float", low=0, high=1)}, "l3: .*It knows image_px"),
        ({"l2": FloatRange(kind="float", low=0, high=1)}, "l2: .*greater than 0"),
        ({"image_px": FloatRange(kind="float", low=64, high=100_000)}, "image_px: .*less than or equal to 768"),
        ({"class_weight": Choice(kind="choice", values=("none", "some"))}, "class_weight: .*'some'"),
        # Its ends are taken, and nothing between them would be.
        ({"image_px": FloatRange(kind="float", low=64, high=300)}, "image_px: .*valid integer"),
        ({"views": IntRange(kind="int", low=1, high=4)}, "views: .*got 3"),
    ],
)
async def test_a_space_that_the_recipe_does_not_take_is_refused_before_any_work(
    space: dict[str, Any], reason: str
) -> None:
    world = World()
    (failed,) = await world.hears(TrainingRequested(search=Search(space=space)))
    assert isinstance(failed, TrainingFailed)
    assert re.search(reason, failed.reason), failed.reason
    assert world.claims.held_ == {}
    assert await world.hears(TrainingRequested(search=Search(space=space), helps="e1"), "e2", "LOOP:8") == []


async def test_who_helps_works_under_the_claim_of_the_search_and_says_nothing() -> None:
    world, said = World(), list[Event]()
    world.trainer.endless = True
    task = asyncio.create_task(world.hears(WISH, said=said))

    async def is_begun() -> None:
        assert world.trainer.jobs

    await eventually(is_begun, timeout_s=10, every_s=0.01)
    world.trainer.endless = False
    assert await world.hears(HELP, "e2", "LOOP:8") == []
    owner, helper = world.trainer.jobs
    assert (owner.claim, owner.helps, owner.owner) == (helper.claim, False, "LOOP:7")
    assert (helper.helps, helper.owner) == (True, "LOOP:8")
    task.cancel()
    await asyncio.wait({task})


async def test_who_would_help_with_what_nobody_is_at_waits_a_little_and_gives_up() -> None:
    world = World()
    with pytest.raises(Busy):
        await world.hears(HELP, "e2", "LOOP:8")
    assert await world.hears(HELP, "e2", "LOOP:8", tries=5) == []
    assert world.trainer.jobs == []


async def test_a_wish_to_search_once_more_is_helped_by_its_id() -> None:
    world = World()
    again = WISH.model_copy(update={"again": True})
    await world.is_killed_after(TrainingProgressed, again, "e1", "LOOP:7")
    await world.hears(again.model_copy(update={"helps": "e1"}), "e2", "LOOP:8")
    assert len({job.claim for job in world.trainer.jobs}) == 1
    assert len(world.trainer.jobs) == 2


async def test_who_helps_stops_when_the_search_is_cancelled_and_leaves_no_open_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cancelling, "_LOOK_EVERY_S", 0.01)
    world = World()
    await world.is_killed_after(TrainingProgressed, WISH)
    plan = world.trainer.jobs[0].plan
    world.facts.later.append((9, TrainingCancelled(plan=plan, reason="enough"), "/services/cli"))
    world.trainer.endless = True
    assert await world.hears(HELP, "e2", "LOOP:8") == []
    assert list(world.trainer.runs.values()) == ["KILLED"]
