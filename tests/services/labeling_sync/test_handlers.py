from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from contracts.events.dataset import DatasetRejected, DatasetRequested, DatasetVersioned
from contracts.events.feedback import FeedbackGiven, FeedbackRejected
from contracts.events.image import ImageAdded, ImageRejected
from contracts.events.project import ProjectDefined
from services.chassis.errors import Busy, Rejected
from services.labeling_sync.choosing import is_drawn
from services.labeling_sync.handlers import (
    on_dataset_requested,
    on_feedback_given,
    on_image_added,
    on_project_defined,
)
from tests.services.labeling_sync.world import PROJECT, World, card, heard, image, solar


def feedback(number: int, correct: str = "bad", prediction: str = "p1") -> FeedbackGiven:
    return FeedbackGiven(
        prediction_id=prediction, image=image(number), predicted="good", correct=correct, given_by="bob"
    )


def number_where(condition: Callable[[str], bool]) -> int:
    return next(number for number in range(10_000) if condition(image(number).sha256))


async def added(world: World, number: int, seq: int = 1, **fields: Any) -> list[Any]:
    event = ImageAdded(image=image(number), **fields)
    return await on_image_added(event, heard(event, seq), ports=world.ports)


async def test_a_card_makes_one_project_and_a_changed_card_fits_it() -> None:
    world = solar()
    defined = ProjectDefined(card=card())
    for seq in (1, 2):
        await on_project_defined(defined, heard(defined, seq), ports=world.ports)
    assert world.labelling.projects_made == 1
    changed = ProjectDefined(
        card=card().model_copy(update={"data": card().data.model_copy(update={"classes": ("a", "b")})})
    )
    await world.bus.say(changed, project=PROJECT)
    await on_project_defined(defined, heard(defined, 1), ports=world.ports)
    assert world.labelling.classes == ("a", "b")


async def test_a_card_said_about_another_project_is_refused() -> None:
    defined = ProjectDefined(card=card())
    with pytest.raises(Rejected, match="say it about solar"):
        await on_project_defined(defined, heard(defined, project="wind"), ports=World().ports)


async def test_five_deliveries_and_a_stored_duplicate_make_one_task() -> None:
    world = solar()
    for seq in (5, 5, 5, 5, 6):
        assert await added(world, 1, seq, label="good", labelled_by="import") == []
    assert len(world.labelling.tasks) == 1
    assert world.labelling.labels_of(1) == ["good"]
    assert world.labelling.new[1].width == 30


async def test_another_message_waits_while_a_task_is_being_made() -> None:
    world = solar()
    await added(world, 2)
    await world.claims.take(f"task.solar.1.{image(1).sha256}", "LOOP:99")
    with pytest.raises(Busy):
        await added(world, 1, 5)


async def test_a_later_label_is_put_on_the_task_which_keeps_how_it_was_chosen() -> None:
    world = solar()
    await added(world, 1, 1)
    for seq in (2, 2, 3):
        await added(world, 1, seq, chosen="uncertain", label="bad", labelled_by="import")
    assert world.labelling.tasks[1].chosen == "random"
    assert world.labelling.labels_of(1) == ["bad"]


@pytest.mark.parametrize(
    ("fields", "bad", "reason"),
    [({"label": "brokn"}, False, "'brokn' is not on the card of solar: it has good, bad"), ({}, True, "truncated")],
)
async def test_what_cannot_be_labelled_is_rejected_and_changes_nothing(
    fields: dict[str, Any], bad: bool, reason: str
) -> None:
    world = solar()
    if bad:
        world.pictures.bad.add(image(1).sha256)
    (answer,) = await added(world, 1, **fields)
    assert isinstance(answer, ImageRejected)
    assert reason in answer.reason
    assert world.labelling.tasks == {}
    assert all(not key.startswith("task.") for key in world.claims.kept)


async def test_an_image_of_a_project_that_nobody_defined_is_rejected() -> None:
    (answer,) = await added(World(), 1)
    assert "loopline project apply" in answer.reason


async def test_a_prediction_becomes_the_pre_annotation() -> None:
    world = solar()
    told = {"predicted": "bad", "confidence": 0.55, "model_version": "solar-v3", "line": 7}
    await added(world, 1, chosen="uncertain", metadata=told)
    await added(world, 2, 2, chosen="uncertain", metadata={**told, "predicted": "of an older card"})
    guess = world.labelling.new[1].guess
    assert guess is not None
    assert (guess.label, guess.score, guess.model_version) == ("bad", 0.55, "solar-v3")
    assert world.labelling.new[1].metadata["line"] == 7
    assert world.labelling.new[2].guess is None


async def test_a_project_that_was_deleted_by_hand_is_made_anew() -> None:
    world = solar()
    await added(world, 1)
    world.labelling.project_id = None
    world.labelling.tasks.clear()
    await added(world, 1, 2)
    assert (world.labelling.projects_made, len(world.labelling.tasks)) == (2, 1)


async def test_a_project_whose_maker_died_can_be_made_anew_like_any_other() -> None:
    world = solar()
    defined = ProjectDefined(card=card())
    died = heard(defined, 1)
    await world.claims.take("label-studio-project.solar", died.owner)
    await world.labelling.create_project(card())
    await on_project_defined(defined, replace(died, tries=2), ports=world.ports)
    world.labelling.project_id = None
    await added(world, 1, 2)
    assert world.labelling.projects_made == 2


async def test_feedback_on_an_image_without_a_task_makes_one_that_only_trains() -> None:
    number = number_where(lambda sha256: not is_drawn(sha256, 0.05))
    world = solar()
    for seq in (1, 1, 2):
        assert await on_feedback_given(feedback(number), heard(feedback(number), seq), ports=world.ports) == []
    assert world.labelling.tasks[1].chosen == "corrected"
    assert world.labelling.labels_of(1) == ["bad"]
    assert world.labelling.tasks[1].annotations[0].annotator == "bob"


async def test_a_corrected_image_that_chance_would_have_drawn_counts_as_random() -> None:
    number = number_where(lambda sha256: is_drawn(sha256, 0.05))
    world = solar()
    await on_feedback_given(feedback(number), heard(feedback(number)), ports=world.ports)
    assert world.labelling.tasks[1].chosen == "random"


async def test_each_feedback_labels_once_and_the_latest_wins() -> None:
    world = solar()
    await added(world, 1, label="good")
    for event, seq in ((feedback(1, "bad", "p1"), 2), (feedback(1, "good", "p2"), 3), (feedback(1, "bad", "p1"), 4)):
        await on_feedback_given(event, heard(event, seq), ports=world.ports)
    assert world.labelling.labels_of(1) == ["good", "bad", "good"]


async def test_feedback_that_cannot_become_a_label_is_rejected() -> None:
    world = solar()
    (unknown,) = await on_feedback_given(feedback(1, "brokn"), heard(feedback(1, "brokn")), ports=world.ports)
    assert isinstance(unknown, FeedbackRejected)
    assert "not on the card" in unknown.reason
    await added(world, 1)
    world.labelling.tasks.clear()
    (deleted,) = await on_feedback_given(feedback(1), heard(feedback(1), 2), ports=world.ports)
    assert isinstance(deleted, FeedbackRejected)
    assert "deleted" in deleted.reason
    (nowhere,) = await on_feedback_given(feedback(1), heard(feedback(1)), ports=World().ports)
    assert isinstance(nowhere, FeedbackRejected)


async def requested(world: World, seq: int) -> Any:
    event = DatasetRequested()
    (answer,) = await on_dataset_requested(event, heard(event, seq), ports=world.ports)
    return answer


async def two_labels(world: World) -> None:
    """One of each class that trains."""
    await added(world, 1, 1, label="good", chosen="uncertain")
    await added(world, 2, 2, label="bad", chosen="uncertain")


async def test_a_wish_freezes_the_labels_once_whatever_the_policy() -> None:
    world = solar()
    await two_labels(world)
    first = await requested(world, 10)
    assert isinstance(first, DatasetVersioned)
    assert (first.number, first.parent_id, first.labels, first.new_labels) == (1, None, 2, 2)
    assert [(count.label, count.train) for count in first.counts] == [("good", 1), ("bad", 1)]
    assert await requested(world, 10) == first
    await world.bus.say(first, project=PROJECT)
    nothing = await requested(world, 11)
    assert isinstance(nothing, DatasetRejected)
    assert "since dataset version 1" in nothing.checks[0].sentence
    assert "loopline train --again" in nothing.checks[0].sentence


async def test_a_wish_that_is_delivered_again_has_the_answer_that_it_had() -> None:
    world = solar()
    await two_labels(world)
    first = await requested(world, 10)
    await world.bus.say(first, project=PROJECT)
    assert await requested(world, 10) == first
    world.labelling.label(1, "bad")
    assert await requested(world, 10) == first


async def test_a_changed_label_is_a_new_version_also_when_it_is_changed_back() -> None:
    world = solar()
    await two_labels(world)
    await added(world, 3, 3, label="bad", chosen="uncertain")
    versions = []
    for seq, label in enumerate(("bad", "good", "bad"), 10):
        world.labelling.label(3, label)
        versions.append(await requested(world, seq))
        await world.bus.say(versions[-1], project=PROJECT)
    assert [one.number for one in versions] == [1, 2, 3]
    assert [one.new_labels for one in versions] == [3, 1, 1]
    assert versions[2].parent_id == versions[1].dataset_id
    assert len({one.dataset_id for one in versions}) == 3


async def test_labels_that_fail_a_check_are_rejected_with_each_reason() -> None:
    world = solar()
    await added(world, 1, 1, label="good")
    world.labelling.label(1, "scratched")
    world.pictures.bad.add(image(1).sha256)
    answer = await requested(world, 10)
    assert isinstance(answer, DatasetRejected)
    assert [check.check for check in answer.checks] == [
        "label-not-on-card", "picture-unreadable", "too-few-of-a-class", "too-few-of-a-class",
    ]  # fmt: skip
    assert world.claims.kept.get("dataset.solar.1") is None


async def test_two_who_freeze_at_once_do_not_make_two_versions_of_one_number() -> None:
    world = solar()
    await two_labels(world)
    await world.claims.take("dataset.solar.1", "policy")
    with pytest.raises(Busy):
        await requested(world, 10)


async def test_a_wish_before_anything_is_labelled_is_rejected() -> None:
    world = solar()
    assert (await requested(world, 1)).checks[0].check == "no-labels"
    await added(world, 1)
    assert (await requested(world, 2)).checks[0].check == "no-labels"


async def test_a_wish_about_a_project_that_nobody_defined_is_rejected() -> None:
    assert (await requested(World(), 1)).checks[0].check == "unknown-project"
