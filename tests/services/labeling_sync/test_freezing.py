"""What a card says about labels, and what comes of it in the next dataset version."""

from collections.abc import Mapping
from typing import Any

import pytest

from contracts.events.dataset import DatasetRejected, DatasetRequested, DatasetVersioned
from contracts.events.image import ImageAdded
from contracts.events.project import ProjectDefined
from services.chassis import recipes
from services.labeling_sync import freezing
from services.labeling_sync.handlers import on_dataset_requested, on_image_added
from tests.services.labeling_sync.world import PROJECT, World, card, heard, image, solar


async def added(world: World, number: int, label: str = "", **fields: Any) -> None:
    event = ImageAdded(image=image(number), label=label or None, labelled_by="import" if label else "", **fields)
    assert await on_image_added(event, heard(event, number), ports=world.ports) == []


async def frozen(world: World, seq: int) -> DatasetVersioned | DatasetRejected:
    event = DatasetRequested()
    (answer,) = await on_dataset_requested(event, heard(event, seq), ports=world.ports)
    if isinstance(answer, DatasetVersioned):
        await world.bus.say(answer, project=PROJECT)
    assert isinstance(answer, DatasetVersioned | DatasetRejected)
    return answer


async def version(world: World, seq: int) -> DatasetVersioned:
    answer = await frozen(world, seq)
    assert isinstance(answer, DatasetVersioned), answer
    return answer


async def redefined(world: World, data: Mapping[str, Any], **label: Any) -> None:
    await world.bus.say(ProjectDefined(card=card(data, **label)), project=PROJECT)


async def with_labels(world: World) -> None:
    """Images 1 to 4 train: two good, two bad."""
    for number in range(1, 5):
        await added(world, number, ("good", "bad")[number % 2], chosen="uncertain")


async def test_images_on_which_people_disagree_are_left_out_and_told_until_they_agree() -> None:
    world = solar(conflict="agreement")
    await with_labels(world)
    world.labelling.label(1, "good", by="bob")
    world.labelling.label(2, "good", by="bob")
    first = await version(world, 100)
    assert first.labels == 3
    (left_out,) = first.left_out
    assert (left_out.why, left_out.count, left_out.images) == ("people-disagree", 1, (image(1).sha256,))
    assert first.agreement is not None
    assert (first.agreement.images, first.agreement.annotators, first.agreement.raw) == (2, 2, 0.5)
    world.labelling.label(1, "bad", by="bob")
    second = await version(world, 101)
    assert (second.labels, second.left_out) == (4, ())


async def test_labels_of_which_none_is_agreed_on_are_refused_with_that_cause() -> None:
    world = solar(conflict="agreement")
    await added(world, 1, "good")
    world.labelling.label(1, "bad", by="bob")
    refused = await frozen(world, 100)
    assert isinstance(refused, DatasetRejected)
    (check,) = refused.checks
    assert (check.check, check.images) == ("no-labels", (image(1).sha256,))
    assert check.sentence.startswith(
        "no label of solar can be used: 1 image is left out because people do not agree on it"
    )


@pytest.mark.parametrize(("conflict", "label"), [("last", "bad"), ("majority", "good")])
async def test_the_card_says_how_a_conflict_is_resolved(conflict: str, label: str) -> None:
    world = solar(conflict=conflict)
    await with_labels(world)
    for by, said in (("ada", "good"), ("bob", "good"), ("eve", "bad")):
        world.labelling.label(2, said, by=by)
    await version(world, 100)
    assert world.manifests.last[image(2).sha256].label == label


async def test_a_renamed_class_takes_its_labels_along_and_an_added_one_joins_them() -> None:
    world = solar()
    await with_labels(world)
    await version(world, 100)
    await redefined(world, {"classes": ["fine", "bad", "ugly"], "renamed": {"good": "fine"}})
    await added(world, 5, "ugly", chosen="uncertain")
    await added(world, 6, "good", chosen="uncertain")  # whoever has not heard of the new name
    second = await version(world, 101)
    assert second.classes == ("fine", "bad", "ugly")
    assert [(count.label, count.train) for count in second.counts] == [("fine", 3), ("bad", 2), ("ugly", 1)]
    assert second.new_labels == 2  # another name is no other label
    assert world.labelling.labels_of(6) == ["fine"]
    assert world.labelling.labels_of(2) == ["good"]  # as it was given


async def test_groups_and_slices_travel_from_the_image_to_the_manifest() -> None:
    world = solar({"group_by": "module"})
    for number in range(1, 61):
        await added(world, number, ("good", "bad")[number % 2], metadata={"module": number % 6, "type": "mono"})
    await version(world, 100)
    rows = world.manifests.last.values()
    assert {row.group for row in rows} == {"0", "1", "2", "3", "4", "5"}
    assert all(len({row.split for row in rows if row.group == group}) == 1 for group in "012345")
    assert {row.slices for row in rows if row.group == "3"} == {'{"module": 3, "type": "mono"}'}


async def test_near_duplicates_never_sit_on_both_sides_of_a_split() -> None:
    world = solar()
    for number in range(1, 61):
        await added(world, number, ("good", "bad")[number % 2])
    await version(world, 100)
    sides = {sha256: row.split for sha256, row in world.manifests.last.items()}
    # Each of the new ones looks like one that has a side.
    for number in range(61, 121):
        await added(world, number, ("good", "bad")[number % 2])
        world.pictures.looks[image(number).sha256] = world.manifests.last[image(number - 60).sha256].perceptual_hash
    await version(world, 101)
    rows = world.manifests.last
    assert len(rows) == 120
    assert all(rows[image(number + 60).sha256].split == sides[image(number).sha256] for number in range(1, 61))
    assert all(rows[sha256].split == side for sha256, side in sides.items())
    assert len(world.pictures.hashed) == 60  # those of the parent are known


async def test_a_card_may_let_near_duplicates_be() -> None:
    world = solar({"near_duplicates": "ignore"})
    for number in range(1, 61):
        await added(world, number, ("good", "bad")[number % 2])
        world.pictures.looks[image(number).sha256] = "0" * 64
    await version(world, 100)
    assert {row.split for row in world.manifests.last.values()} == {"train", "validation", "test"}


async def test_a_near_duplicate_of_a_test_image_that_may_not_judge_is_left_out_and_told() -> None:
    world = solar()
    for number in range(1, 61):
        await added(world, number, ("good", "bad")[number % 2])
    await version(world, 100)
    judge = next(row for row in world.manifests.last.values() if row.split == "test")
    await added(world, 61, "bad", chosen="corrected")
    await added(world, 62, "bad", chosen="corrected")
    world.pictures.looks[image(61).sha256] = judge.perceptual_hash
    second = await version(world, 101)
    assert [(one.why, one.images) for one in second.left_out] == [("near-duplicate", (image(61).sha256,))]
    assert second.labels == 61


async def test_an_image_that_comes_back_is_on_the_side_where_it_was() -> None:
    world = solar()
    await with_labels(world)
    await added(world, 5, "good", chosen="random")
    await version(world, 100)
    side = world.manifests.last[image(5).sha256].split
    labels = world.labelling.tasks[5].annotations
    world.labelling.take_away(5)
    await version(world, 101)
    world.labelling.label(1, "good")
    await version(world, 102)
    await redefined(world, {"split": {"test": 0.5 if side != "test" else 0.01, "validation": 0.0}})
    world.labelling.label(5, labels[0].label or "")
    await version(world, 103)
    assert world.manifests.last[image(5).sha256].split == side


async def test_a_recipe_that_learns_what_is_normal_needs_the_first_class_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = solar()
    await added(world, 1, "good", chosen="uncertain")
    refused = await frozen(world, 100)
    assert isinstance(refused, DatasetRejected)
    assert [check.check for check in refused.checks] == ["all-labels-alike"]
    normal = recipes.Recipe(recipes.recipe("frozen-features").parameters, "any:train", every_class=False)
    monkeypatch.setattr(freezing, "recipe", lambda name: normal)
    assert (await version(world, 101)).labels == 1


async def test_a_recipe_that_is_not_installed_here_is_taken_to_need_every_class() -> None:
    world = solar()
    named = card().model_copy(update={"model": card().model.model_copy(update={"recipe": "of-another-team"})})
    await world.bus.say(ProjectDefined(card=named), project=PROJECT)
    await added(world, 1, "good", chosen="uncertain")
    assert isinstance(await frozen(world, 100), DatasetRejected)
    await added(world, 2, "bad", chosen="uncertain")
    assert (await version(world, 101)).labels == 2
