import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.envelope import Envelope
from contracts.events.base import BlobRef, Event
from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.project import ProjectDefined
from contracts.events.training import (
    TrainedModel,
    TrainingCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingProgressed,
    TrainingRequested,
    TrainingStarted,
)
from contracts.project import Data, Model, ScopeCard
from services.chassis.errors import Away, Busy, Retry
from services.chassis.heard import Heard
from services.trainer.handlers import Ports, on_dataset_versioned, on_training_requested
from services.trainer.job import Job, Made
from services.trainer.ports import CannotTrain, Step

REF = BlobRef(uri=f"blob://{'a' * 64}.pt", sha256="a" * 64, size_bytes=3)
CLASSES = ("good", "bad")


def card(**model: Any) -> ProjectDefined:
    return ProjectDefined(card=ScopeCard(project="solar", data=Data(classes=CLASSES), model=Model(**model)))


def dataset(number: int) -> DatasetVersioned:
    return DatasetVersioned(
        dataset_id=f"{number:016x}",
        number=number,
        manifest=REF,
        classes=CLASSES,
        counts=tuple(ClassCount(label=name, train=9, validation=2, test=4) for name in CLASSES),
        labels=30,
        new_labels=30,
    )


def envelope(event: Event, id_: str) -> Envelope:
    return Envelope.first(event, project="solar", source="/test", id=id_, time=datetime(2026, 11, 24, tzinfo=UTC))


def heard(event: Event, id_: str = "e1", owner: str = "LOOP:7", tries: int = 1) -> Heard:
    return Heard(envelope(event, id_), owner, tries)


class FakeFacts:
    """Facts that were all said so many minutes after what is heard."""

    def __init__(self, *said: Event) -> None:
        self.said = list(said)
        self.minutes_later = 0

    async def last(self, event_type: type[Any], project: str) -> tuple[Any, Envelope] | None:
        found = [event for event in self.said if isinstance(event, event_type)]
        if not found or project != "solar":
            return None
        said = envelope(found[-1], "x")
        return found[-1], replace(said, time=said.time + timedelta(minutes=self.minutes_later))

    async def read(self, event_type: type[Any], project: str) -> AsyncIterator[tuple[Any, Envelope, int]]:
        for seq, event in enumerate(self.said):
            if isinstance(event, event_type):
                yield event, envelope(event, str(seq)), seq


class FakeClaims:
    def __init__(self) -> None:
        self.held_: dict[str, dict[str, Any]] = {}

    async def take(self, key: str, owner: str) -> dict[str, Any] | None:
        value = self.held_.setdefault(key, {"owner": owner})
        if "result" in value:
            result: dict[str, Any] = value["result"]
            return result
        if value["owner"] != owner:
            raise Busy(key)
        return None

    async def finish(self, key: str, owner: str, result: dict[str, Any]) -> None:
        self.held_[key] = {"owner": owner, "result": result}

    async def release(self, key: str, owner: str) -> None:
        if self.held_.get(key) == {"owner": owner}:
            del self.held_[key]

    async def held(self, keys: str) -> dict[str, str]:
        begin = keys.removesuffix("*")
        held = {key: value for key, value in self.held_.items() if key.startswith(begin)}
        return {key: value["owner"] for key, value in held.items() if "result" not in value}


class FakeTrainer:
    """Trains, and keeps of each claim what MLflow keeps: how its run stands."""

    def __init__(self, raises: Callable[[], Exception] | None = None) -> None:
        self.raises = raises
        self.jobs: list[Job] = []
        self.runs: dict[str, str] = {}

    async def train(self, job: Job) -> AsyncGenerator[Step | Made]:
        self.jobs.append(job)
        self.runs[job.claim] = "RUNNING"
        yield Step("features", 16, 30)
        if self.raises:
            raise self.raises()
        self.runs[job.claim] = "FINISHED"
        model = TrainedModel(file=REF, golden=REF, classes=job.classes, max_side=64)
        yield Made(run_id=f"run-{len(self.jobs)}", model=model, metrics={"validation_accuracy": 0.9})

    async def cancel(self, project: str, claim: str, reason: str) -> bool:
        assert claim.startswith(f"train.{project}.")
        assert reason
        if self.runs.get(claim) == "FINISHED":
            return False
        if claim in self.runs:
            self.runs[claim] = "KILLED"
        return True


class World:
    """A trainer's surroundings with a card and two dataset versions."""

    def __init__(self, *said: Event, raises: Callable[[], Exception] | None = None) -> None:
        self.facts = FakeFacts(*(said or (card(), dataset(1), dataset(2))))
        self.claims = FakeClaims()
        self.trainer = FakeTrainer(raises)
        ticks = iter(range(1000))
        self.ports = Ports(self.facts, self.claims, self.trainer, "host/1", lambda: float(next(ticks)))

    async def hears(self, event: Event, id_: str = "e1", owner: str = "LOOP:7", tries: int = 1) -> list[Event]:
        handler: Any = on_dataset_versioned if isinstance(event, DatasetVersioned) else on_training_requested
        return [fact async for fact in handler(event, heard(event, id_, owner, tries), ports=self.ports)]

    async def is_killed_after(self, last: type[Event], event: Event, id_: str = "e1", owner: str = "LOOP:7") -> None:
        """Hear an event, and die when a fact of this type was said."""
        handler: Any = on_dataset_versioned if isinstance(event, DatasetVersioned) else on_training_requested
        async with aclosing(handler(event, heard(event, id_, owner), ports=self.ports)) as facts:
            async for fact in facts:
                if isinstance(fact, last):
                    return
        raise AssertionError(f"{last.name()} was never said")


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
