import asyncio
from typing import Any

import pytest

from contracts.events.base import Event
from contracts.events.training import (
    TrainingCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingPlan,
    TrainingProgressed,
    TrainingRequested,
    TrainingStarted,
)
from services.chassis.errors import Away
from services.trainer import cancelling
from tests.eventually import eventually
from tests.services.trainer.world import World, card, dataset

WISH = TrainingRequested()


async def test_the_run_of_a_training_that_had_begun_and_was_superseded_ends_as_killed() -> None:
    world = World(card(), dataset(1))
    await world.is_killed_after(TrainingProgressed, dataset(1))
    assert list(world.trainer.runs.values()) == ["RUNNING"]
    world.facts.said.append(dataset(2))
    (cancelled,) = await world.hears(dataset(1), tries=2)
    assert isinstance(cancelled, TrainingCancelled)
    assert list(world.trainer.runs.values()) == ["KILLED"]
    assert world.claims.held_ == {}


async def test_the_run_of_a_scheduled_training_that_had_begun_and_is_left_out_ends_as_killed() -> None:
    world = World()
    nightly = TrainingRequested(again=True, unless_training=True)
    await world.is_killed_after(TrainingProgressed, nightly, "nightly", "LOOP:8")
    world.facts.said += await world.hears(dataset(2))
    world.facts.minutes_later = 10
    (cancelled,) = await world.hears(nightly, "nightly", "LOOP:8", tries=2)
    assert isinstance(cancelled, TrainingCancelled)
    assert sorted(world.trainer.runs.values()) == ["FINISHED", "KILLED"]
    assert [value["owner"] for value in world.claims.held_.values()] == ["LOOP:7"]


async def test_what_was_finished_by_who_died_before_saying_so_is_completed_though_superseded() -> None:
    world = World(card(), dataset(1))
    await world.is_killed_after(TrainingProgressed, dataset(1))
    world.trainer.runs = dict.fromkeys(world.trainer.runs, "FINISHED")
    world.facts.said.append(dataset(2))
    assert isinstance((await world.hears(dataset(1), tries=2))[-1], TrainingCompleted)


async def test_a_cancellation_that_mlflow_cannot_be_told_of_is_not_said_and_tried_again() -> None:
    world = World(card(), dataset(1))
    await world.is_killed_after(TrainingProgressed, dataset(1))
    world.facts.said.append(dataset(2))
    cancel = world.trainer.cancel

    async def away(project: str, claim: str, reason: str) -> bool:
        raise Away("MLflow does not answer")

    world.trainer.cancel = away  # type: ignore[method-assign]
    with pytest.raises(Away):
        await world.hears(dataset(1), tries=2)
    world.trainer.cancel = cancel  # type: ignore[method-assign]
    (cancelled,) = await world.hears(dataset(1), tries=2)
    assert isinstance(cancelled, TrainingCancelled)
    assert list(world.trainer.runs.values()) == ["KILLED"]


@pytest.mark.parametrize(("changed", "outcome"), [({"l2": 2.0}, TrainingCompleted), ({"l3": 1}, TrainingFailed)])
async def test_what_a_message_had_begun_before_the_card_was_changed_ends_with_its_claim(
    changed: dict[str, Any], outcome: type[Event]
) -> None:
    world = World(card(parameters={"l2": 0.5}), dataset(2))
    await world.is_killed_after(TrainingProgressed, dataset(2))
    (before,) = world.trainer.runs
    await world.claims.take("train.solar.of-another-message", "LOOP:3")
    world.facts.said.append(card(parameters=changed))
    assert isinstance((await world.hears(dataset(2), tries=2))[-1], outcome)
    assert world.trainer.runs[before] == "KILLED"
    assert before not in world.claims.held_
    assert "train.solar.of-another-message" in world.claims.held_


async def in_mid_work(world: World, said: list[Event]) -> "asyncio.Task[list[Event]]":
    """A training that goes on for ever."""
    world.trainer.endless = True
    task = asyncio.create_task(world.hears(WISH, said=said))

    async def is_in_mid_work() -> None:
        assert any(isinstance(fact, TrainingProgressed) for fact in said)

    await eventually(is_in_mid_work, timeout_s=10, every_s=0.01)
    return task


async def test_anyone_may_cancel_a_training_in_work_and_the_trainer_says_when_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cancelling, "_LOOK_EVERY_S", 0.01)
    world, said = World(), list[Event]()
    task = await in_mid_work(world, said)
    plan = world.trainer.jobs[0].plan
    world.facts.later.append((8, TrainingCancelled(plan=plan, reason="wrong lamp"), "/services/cli"))
    await task
    assert said[-1] == TrainingCancelled(plan=plan, reason="cancelled by cli: wrong lamp")
    assert list(world.trainer.runs.values()) == ["KILLED"]
    assert world.claims.held_ == {}


@pytest.mark.parametrize(
    ("seq", "source", "change"),
    [
        (6, "/services/cli", {}),
        (8, "/services/trainer", {}),
        (8, "/services/cli", {"seed": 9}),
        (8, "/services/cli", {"recipe": "magic"}),
    ],
)
async def test_what_was_said_before_or_by_a_trainer_or_of_another_plan_cancels_nothing(
    seq: int, source: str, change: dict[str, Any]
) -> None:
    world = World()
    started, *_ = await World().hears(WISH)
    assert isinstance(started, TrainingStarted)
    plan = started.plan.model_copy(update=change)
    world.facts.later.append((seq, TrainingCancelled(plan=plan, reason="no"), source))
    assert isinstance((await world.hears(WISH, owner="LOOP:7"))[-1], TrainingCompleted)


async def test_a_request_that_waited_its_turn_is_cancelled_without_being_trained_and_a_later_one_is_trained() -> None:
    world = World()
    plan = TrainingPlan(dataset_id=f"{2:016x}", recipe="frozen-features", seed=0)
    world.facts.later.append((8, TrainingCancelled(plan=plan, reason="not needed"), "/services/webapp"))
    (cancelled,) = await world.hears(WISH, owner="LOOP:7")
    assert isinstance(cancelled, TrainingCancelled)
    assert world.trainer.jobs == []
    assert isinstance((await world.hears(WISH, "e2", "LOOP:9"))[-1], TrainingCompleted)


async def test_who_died_after_a_cancellation_finds_it_again() -> None:
    world = World()
    await world.is_killed_after(TrainingProgressed, WISH)
    plan = world.trainer.jobs[0].plan
    world.facts.later.append((8, TrainingCancelled(plan=plan, reason="wrong lamp"), "/services/cli"))
    for _ in range(2):
        (cancelled,) = await world.hears(WISH, tries=2)
        assert isinstance(cancelled, TrainingCancelled)
    assert list(world.trainer.runs.values()) == ["KILLED"]


async def test_what_was_finished_in_the_moment_of_its_cancellation_is_completed() -> None:
    world = World()
    await world.is_killed_after(TrainingProgressed, WISH)
    world.trainer.runs = dict.fromkeys(world.trainer.runs, "FINISHED")
    plan = world.trainer.jobs[0].plan
    world.facts.later.append((8, TrainingCancelled(plan=plan, reason="wrong lamp"), "/services/cli"))
    assert isinstance((await world.hears(WISH, tries=2))[-1], TrainingCompleted)


async def test_a_bus_that_is_away_cancels_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "_LOOK_EVERY_S", 0.0)
    world = World()
    read, looks = world.facts.read, list[int]()

    def read_or_not(event_type: type[Any], project: str, *, from_seq: int = 1) -> Any:
        if event_type is TrainingCancelled and looks.append(1) is None and len(looks) > 1:
            raise OSError("the bus is away")
        return read(event_type, project, from_seq=from_seq)

    monkeypatch.setattr(world.facts, "read", read_or_not)
    assert isinstance((await world.hears(WISH))[-1], TrainingCompleted)
