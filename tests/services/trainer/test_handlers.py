import re

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
from services.chassis.errors import Busy, Retry
from services.trainer.handlers import on_dataset_versioned
from services.trainer.ports import CannotTrain
from tests.services.trainer.world import World, card, dataset, heard


async def test_a_dataset_version_is_trained_by_the_card_and_said_step_by_step() -> None:
    world = World(card(parameters={"l2": 0.5}, seed=3), dataset(2))
    started, progressed, completed = await world.hears(dataset(2))
    assert isinstance(started, TrainingStarted)
    assert started.trainer == "host/1"
    assert isinstance(progressed, TrainingProgressed)
    assert (progressed.stage, progressed.done, progressed.total) == ("features", 16, 30)
    assert isinstance(completed, TrainingCompleted)
    assert completed.plan == started.plan == progressed.plan
    assert (completed.plan.dataset_id, completed.plan.seed, completed.plan.parameters["l2"]) == (f"{2:016x}", 3, 0.5)
    assert (completed.dataset_number, completed.run_id, completed.seconds) == (2, "run-1", 1.0)
    assert world.trainer.jobs[0].correlation_id == "e1"


async def test_redelivered_request_does_not_train_twice() -> None:
    world = World()
    *_, completed = await world.hears(dataset(2))
    assert await world.hears(dataset(2)) == [completed]
    assert len(world.trainer.jobs) == 1


async def test_a_second_request_for_the_same_work_gets_the_same_answer() -> None:
    world = World()
    *_, completed = await world.hears(dataset(2))
    assert await world.hears(TrainingRequested(), id_="e2", owner="LOOP:9") == [completed]
    assert len(world.trainer.jobs) == 1


async def test_again_trains_once_more_for_each_request_but_not_for_its_redelivery() -> None:
    world = World()
    await world.hears(dataset(2))
    for id_ in ("12", "13", "13"):
        *_, completed = await world.hears(TrainingRequested(again=True), id_=id_, owner=f"LOOP:{id_}")
    assert isinstance(completed, TrainingCompleted)
    assert completed.run_id == "run-3"
    assert len({job.claim for job in world.trainer.jobs}) == len(world.trainer.jobs) == 3


async def test_who_was_killed_in_mid_work_goes_on_with_the_same_claim() -> None:
    world = World()
    facts = on_dataset_versioned(dataset(2), heard(dataset(2)), ports=world.ports)
    assert isinstance(await anext(facts), TrainingStarted)
    *_, completed = await world.hears(dataset(2))
    assert isinstance(completed, TrainingCompleted)


async def test_a_replica_steps_back_from_work_that_another_one_does() -> None:
    world = World()
    facts = on_dataset_versioned(dataset(2), heard(dataset(2)), ports=world.ports)
    await anext(facts)
    with pytest.raises(Busy):
        await world.hears(TrainingRequested(), id_="e2", owner="LOOP:9")


async def test_the_newest_dataset_wins_but_a_request_may_name_an_older_one() -> None:
    world = World()
    (cancelled,) = await world.hears(dataset(1))
    assert isinstance(cancelled, TrainingCancelled)
    assert cancelled.reason == "superseded by dataset version 2"
    *_, completed = await world.hears(TrainingRequested(dataset_id=f"{1:016x}"), id_="e2", owner="LOOP:9")
    assert isinstance(completed, TrainingCompleted)
    assert completed.dataset_number == 1


async def test_a_dataset_that_was_trained_before_it_was_superseded_is_not_taken_back() -> None:
    world = World(card(), dataset(1))
    *_, completed = await world.hears(dataset(1))
    world.facts.said.append(dataset(2))
    assert await world.hears(dataset(1)) == [completed]


async def test_a_request_lays_its_parameters_over_those_of_the_card() -> None:
    world = World(card(parameters={"l2": 0.5, "image_px": 64}), dataset(1))
    await world.hears(TrainingRequested(parameters={"l2": 0.1}, seed=5))
    plan = world.trainer.jobs[0].plan
    assert (plan.parameters["l2"], plan.parameters["image_px"], plan.seed) == (0.1, 64, 5)


@pytest.mark.parametrize(
    ("said", "asked", "reason"),
    [
        ((dataset(1),), dataset(1), "has no scope card: apply one"),
        ((card(),), TrainingRequested(), "solar has no dataset version yet"),
        ((card(), dataset(1)), TrainingRequested(dataset_id="f" * 16), "has no dataset version ffffffffffffffff"),
        ((card(), dataset(1)), TrainingRequested(recipe="magic"), "'magic' is not known here"),
        ((card(parameters={"l3": 1}), dataset(1)), dataset(1), "l3: .*It knows image_px"),
    ],
)
async def test_what_cannot_be_done_is_answered_before_any_work(
    said: tuple[Event, ...], asked: Event, reason: str
) -> None:
    world = World(*said)
    (failed,) = await world.hears(asked)
    assert isinstance(failed, TrainingFailed)
    assert re.search(reason, failed.reason), failed.reason
    assert world.trainer.jobs == []
    assert world.claims.held_ == {}


async def test_a_training_that_cannot_succeed_is_answered_and_gives_its_claim_back() -> None:
    world = World(raises=lambda: CannotTrain("no training image shows bad: label some"))
    *_, failed = await world.hears(dataset(2))
    assert isinstance(failed, TrainingFailed)
    assert failed.plan == world.trainer.jobs[0].plan
    assert failed.reason == "no training image shows bad: label some"
    assert world.claims.held_ == {}


async def test_a_training_that_may_succeed_later_is_no_failure_and_gives_its_claim_back() -> None:
    world = World(raises=lambda: Retry("MLflow does not answer"))
    with pytest.raises(Retry):
        await world.hears(dataset(2))
    assert world.claims.held_ == {}


@pytest.mark.parametrize(("other", "trained"), [("LOOP:3", False), ("LOOP:11", True)])
async def test_what_a_schedule_says_is_left_out_while_an_earlier_wish_is_in_work(other: str, trained: bool) -> None:
    world = World()
    await world.claims.take("train.solar.another-plan", other)
    await world.claims.take("train.solar-2.another-project", "LOOP:1")
    facts = await world.hears(TrainingRequested(again=True, unless_training=True, why="nightly"), owner="LOOP:7")
    if trained:
        assert isinstance(facts[-1], TrainingCompleted)
        return
    (cancelled,) = facts
    assert isinstance(cancelled, TrainingCancelled)
    assert cancelled.reason == "another training of solar was under way"
    await world.claims.finish("train.solar.another-plan", other, {})
    assert isinstance(
        (await world.hears(TrainingRequested(again=True, unless_training=True), "e2"))[-1], TrainingCompleted
    )


async def test_what_a_schedule_said_during_a_training_is_left_out_when_that_has_ended() -> None:
    world = World()
    before = await world.hears(TrainingRequested(again=True), "before")
    world.facts.said += before
    world.facts.minutes_later = 10
    (cancelled,) = await world.hears(TrainingRequested(again=True, unless_training=True), "during", "LOOP:8")
    assert isinstance(cancelled, TrainingCancelled)
    world.facts.minutes_later = -10
    facts = await world.hears(TrainingRequested(again=True, unless_training=True), "after", "LOOP:9")
    assert isinstance(facts[-1], TrainingCompleted)


async def test_a_request_that_is_handed_out_again_is_the_same_work_though_a_newer_version_was_said() -> None:
    world = World(card(), dataset(1), dataset(2))
    await world.hears(TrainingRequested(again=True), owner="LOOP:3")
    world.facts.said.append(dataset(3))
    await world.hears(TrainingRequested(again=True), owner="LOOP:3")
    assert {job.plan.dataset_id for job in world.trainer.jobs} == {f"{2:016x}"}
