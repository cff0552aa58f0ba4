"""A training doubts labels, and people look once more."""

import asyncio
from typing import Any

import pytest

from contracts.events.base import BlobRef
from contracts.events.image import ImageAdded
from contracts.events.label import LabelDoubted, LabelSubmitted
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainedModel, TrainingCompleted, TrainingPlan
from services.labeling_sync.cards import Cards
from services.labeling_sync.doubting import on_training_completed
from services.labeling_sync.handlers import on_image_added
from services.labeling_sync.polling import poll_labels
from services.labeling_sync.second_look import Doubt
from services.labeling_sync.withdrawing import SaidLabels, Sweep
from tests.services.labeling_sync.world import PROJECT, World, card, heard, image, solar

BLOB = BlobRef(uri=f"blob://{'0' * 64}.npz", sha256="0" * 64, size_bytes=1)


def training(seed: int = 0, doubts: BlobRef | None = BLOB) -> TrainingCompleted:
    return TrainingCompleted(
        plan=TrainingPlan(dataset_id="1" * 16, recipe="frozen-features", seed=seed),
        dataset_number=1,
        manifest=BLOB,
        run_id=f"run-{seed}",
        model=TrainedModel(file=BLOB, golden=BLOB, classes=("good", "bad"), max_side=64),
        metrics={},
        seconds=1,
        doubts=doubts,
    )


def doubt(number: int, label: str = "good", likelier: str = "bad") -> Doubt:
    return Doubt(image(number).sha256, label, likelier, 0.03, 0.97)


async def labelled(count: int, most: int, **label: Any) -> World:
    """Images that are all labelled good, and doubted in their order."""
    world = solar(second_look={"most": most}, freeze={"new_labels": 999}, **label)
    for number in range(1, count + 1):
        event = ImageAdded(image=image(number), label="good", labelled_by="ada")
        await on_image_added(event, heard(event, number), ports=world.ports)
    world.doubts.found = [doubt(number) for number in range(1, count + 1)]
    await poll(world)
    return world


async def poll(world: World) -> None:
    world.pass_time(10)
    await poll_labels(Cards(world.bus), SaidLabels(world.bus), world.ports)


async def trained(world: World, seed: int, event: TrainingCompleted | None = None) -> list[int]:
    """The tasks that people are asked about, as it is said."""
    event = event or training(seed)
    facts = await on_training_completed(event, heard(event, 100 + seed, id=f"training-{seed}"), ports=world.ports)
    for fact in facts:
        assert isinstance(fact, LabelDoubted)
        await world.bus.say(fact, project=PROJECT)
    return [fact.task_id for fact in facts if isinstance(fact, LabelDoubted)]


def waiting(world: World) -> list[int]:
    return [task.id for task in world.labelling.tasks.values() if task.second_look_since]


async def test_the_worst_few_come_back_to_people_with_a_sentence() -> None:
    world = await labelled(5, most=2)
    assert await trained(world, 0) == waiting(world) == [1, 2]
    assert world.labelling.told[1] == "labelled good (3% likely): is it bad (97%)?"
    (said, _) = world.bus.of(LabelDoubted)
    assert (said.label, said.likelier, said.label_probability, said.run_id) == ("good", "bad", 0.03, "run-0")


async def test_no_more_wait_at_a_time_than_the_card_says() -> None:
    world = await labelled(5, most=2)
    await trained(world, 0)
    assert await trained(world, 1) == []
    world.labelling.label(1, "bad")
    await poll(world)
    assert waiting(world) == [2]
    assert await trained(world, 2) == [3]


@pytest.mark.parametrize("label", ["good", "bad"])
async def test_who_has_looked_is_not_asked_again(label: str) -> None:
    world = await labelled(1, most=5)
    assert await trained(world, 0) == [1]
    await poll(world)
    assert waiting(world) == [1]
    world.labelling.label(1, label)
    await poll(world)
    assert waiting(world) == []
    assert world.bus.of(LabelSubmitted)[-1].label == label
    assert await trained(world, 1) == []


async def test_who_skips_a_doubted_label_has_looked() -> None:
    world = await labelled(1, most=1)
    await trained(world, 0)
    world.labelling.skip(1)
    await poll(world)
    assert waiting(world) == []


async def test_who_deletes_a_doubted_label_has_looked() -> None:
    world = await labelled(2, most=1)
    await trained(world, 0)
    world.labelling.take_away(1)
    await Sweep(Cards(world.bus), SaidLabels(world.bus), world.ports).look()
    assert waiting(world) == []
    assert await trained(world, 1) == [2]


async def test_another_label_of_the_image_can_be_doubted_in_its_turn() -> None:
    world = await labelled(1, most=5)
    await trained(world, 0)
    world.labelling.label(1, "bad")
    await poll(world)
    world.doubts.found = [doubt(1, "bad", "good")]
    assert await trained(world, 1) == [1]


async def test_a_label_that_was_changed_meanwhile_is_not_doubted() -> None:
    world = await labelled(2, most=5)
    world.labelling.label(1, "bad")
    world.doubts.found.append(doubt(77))  # an image that has no task
    assert await trained(world, 0) == [2]


async def test_delivered_again_it_says_the_same_and_asks_about_no_others() -> None:
    world = await labelled(5, most=2)
    event = training()
    first = await on_training_completed(event, heard(event, 100), ports=world.ports)
    world.labelling.label(1, "bad")
    await poll(world)
    again = await on_training_completed(event, heard(event, 100), ports=world.ports)
    assert again == first
    assert waiting(world) == [2]


async def test_of_two_trainings_that_doubt_a_label_at_once_one_asks() -> None:
    world = await labelled(1, most=5)
    events = [training(seed) for seed in (0, 1)]
    facts = await asyncio.gather(
        *(on_training_completed(one, heard(one, 100 + seed), ports=world.ports) for seed, one in enumerate(events)),
        return_exceptions=True,
    )
    assert sum(len(one) for one in facts if isinstance(one, list)) == 1


async def test_a_doubted_label_keeps_its_class_through_a_new_name() -> None:
    world = await labelled(1, most=5)
    renamed = card({"classes": ["fine", "bad"], "renamed": {"good": "fine"}}, second_look={"most": 5})
    await world.bus.say(ProjectDefined(card=renamed), project=PROJECT)
    assert await trained(world, 0) == [1]
    assert world.bus.of(LabelDoubted)[0].label == "fine"


async def test_who_has_looked_is_not_asked_again_because_of_a_new_name() -> None:
    world = await labelled(1, most=5)
    await trained(world, 0)
    world.labelling.label(1, "good")
    await poll(world)
    renamed = card({"classes": ["fine", "bad"], "renamed": {"good": "fine"}}, second_look={"most": 5})
    await world.bus.say(ProjectDefined(card=renamed), project=PROJECT)
    assert await trained(world, 1) == []


async def test_two_classes_that_became_one_are_not_told_apart() -> None:
    world = await labelled(1, most=5)
    merged = card({"classes": ["fine", "ugly"], "renamed": {"good": "fine", "bad": "fine"}}, second_look={"most": 5})
    await world.bus.say(ProjectDefined(card=merged), project=PROJECT)
    assert await trained(world, 0) == []


async def test_nothing_is_asked_without_doubts_without_a_wish_or_without_a_project() -> None:
    world = await labelled(2, most=5)
    assert await trained(world, 0, training(doubts=None)) == []
    silent = await labelled(2, most=0)
    assert await trained(silent, 0) == []
    assert await trained(World(), 0) == []
    world.labelling.project_id = None
    assert await trained(world, 1) == []
