import pytest

from contracts.events.dataset import DatasetRejected, DatasetVersioned
from contracts.events.image import ImageAdded
from contracts.events.label import LabelSubmitted
from contracts.events.project import ProjectDefined
from services.chassis.errors import Retry
from services.labeling_sync.cards import Cards
from services.labeling_sync.handlers import on_image_added, on_project_defined
from services.labeling_sync.polling import poll_labels
from services.labeling_sync.withdrawing import SaidLabels
from tests.services.labeling_sync.world import World, card, heard, image, solar


async def with_tasks(count: int, **freeze: float) -> World:
    """Uncertain images, so that all of them train."""
    world = solar(freeze=freeze)
    defined = ProjectDefined(card=card())
    await on_project_defined(defined, heard(defined), ports=world.ports)
    for number in range(1, count + 1):
        event = ImageAdded(image=image(number), chosen="uncertain")
        await on_image_added(event, heard(event, number), ports=world.ports)
    return world


async def poll(world: World) -> None:
    await poll_labels(Cards(world.bus), SaidLabels(world.bus), world.ports)


async def test_each_label_is_said_once() -> None:
    world = await with_tasks(2, new_labels=9)
    world.labelling.label(1, "good", by="ada")
    await poll(world)
    world.labelling.label(2, "bad", skipped=True)
    world.pass_time(1)
    await poll(world)
    world.labelling.label(1, "bad", by="bob")
    await poll(world)
    said = world.bus.of(LabelSubmitted)
    assert [(one.image_sha256, one.label, one.annotator) for one in said] == [
        (image(1).sha256, "good", "ada"),
        (image(1).sha256, "bad", "bob"),
    ]
    assert (said[0].chosen, said[0].task_id, said[0].lead_time_s) == ("uncertain", 1, 1.5)


async def test_a_crash_before_the_cursor_is_saved_says_the_same_facts_again() -> None:
    world = await with_tasks(1, new_labels=9)
    world.labelling.label(1, "good")
    await poll(world)
    world.cursors.kept.clear()
    await poll(world)
    first, second = (envelope.id for event, envelope in world.bus.said if isinstance(event, LabelSubmitted))
    assert first == second


async def test_enough_labels_become_a_dataset_version() -> None:
    world = await with_tasks(2, new_labels=2)
    world.labelling.label(1, "good")
    await poll(world)
    assert world.bus.of(DatasetVersioned) == []
    world.labelling.label(2, "bad")
    await poll(world)
    await poll(world)
    (version,) = world.bus.of(DatasetVersioned)
    assert (version.number, version.labels) == (1, 2)


async def test_quiet_after_a_label_makes_a_version_too() -> None:
    world = await with_tasks(2, new_labels=100, quiet_s=60)
    world.labelling.label(1, "good")
    world.labelling.label(2, "bad")
    await poll(world)
    world.pass_time(59)
    await poll(world)
    assert world.bus.of(DatasetVersioned) == []
    world.pass_time(1)
    await poll(world)
    world.pass_time(600)
    await poll(world)
    assert len(world.bus.of(DatasetVersioned)) == 1


async def test_a_refusal_by_policy_waits_for_new_labels_instead_of_repeating() -> None:
    world = await with_tasks(2, new_labels=1)
    world.labelling.label(1, "good")
    for _ in range(3):
        await poll(world)
        world.pass_time(100)
    assert len(world.bus.of(DatasetRejected)) == 1
    world.labelling.label(2, "bad")
    await poll(world)
    assert len(world.bus.of(DatasetVersioned)) == 1


async def test_the_same_label_given_again_makes_no_version() -> None:
    world = await with_tasks(2, new_labels=2, quiet_s=60)
    world.labelling.label(1, "good")
    world.labelling.label(2, "bad")
    await poll(world)
    world.labelling.label(2, "bad", by="bob")
    await poll(world)
    world.pass_time(60)
    await poll(world)
    assert len(world.bus.of(LabelSubmitted)) == 3
    assert len(world.bus.of(DatasetVersioned)) == 1
    assert world.bus.of(DatasetRejected) == []


async def test_a_version_that_was_frozen_but_not_said_is_said_by_the_next() -> None:
    world = await with_tasks(2, new_labels=2)
    world.labelling.label(1, "good")
    world.labelling.label(2, "bad")
    await poll(world)
    world.bus.said = [one for one in world.bus.said if not isinstance(one[0], DatasetVersioned)]
    world.labelling.label(1, "bad")
    world.labelling.label(2, "good")
    await poll(world)
    await poll(world)
    first, second = world.bus.of(DatasetVersioned)
    assert (first.number, second.number, second.parent_id) == (1, 2, first.dataset_id)


async def test_a_project_deleted_by_hand_is_told_and_one_not_made_yet_is_not() -> None:
    await poll(solar())
    world = await with_tasks(1, new_labels=9)
    world.labelling.label(1, "good")
    await poll(world)
    world.labelling.project_id = None
    with pytest.raises(Retry, match="made anew"):
        await poll(world)
