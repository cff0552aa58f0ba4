import pytest

from contracts.events.dataset import DatasetVersioned
from contracts.events.label import LabelSubmitted, LabelWithdrawn
from services.labeling_sync import withdrawing
from services.labeling_sync.cards import Cards
from services.labeling_sync.polling import poll_labels
from services.labeling_sync.withdrawing import SaidLabels, Sweep
from tests.services.labeling_sync.test_polling import with_tasks
from tests.services.labeling_sync.world import World, image


class Watched:
    """A world of which one process reads labels and looks for deleted ones."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._said = SaidLabels(world.bus)
        self._sweep = Sweep(Cards(world.bus), self._said, world.ports)

    async def poll(self) -> None:
        await poll_labels(Cards(self.world.bus), self._said, self.world.ports)

    async def sweep(self) -> None:
        await self._sweep.look()

    def gone(self) -> list[tuple[str, str, str]]:
        return [(one.image_sha256, one.label, one.why) for one in self.world.bus.of(LabelWithdrawn)]


async def labelled(count: int, **freeze: float) -> Watched:
    world = await with_tasks(count, **freeze)
    for number in range(1, count + 1):
        world.labelling.label(number, ("good", "bad")[number % 2])
    watched = Watched(world)
    await watched.poll()
    return watched


async def test_a_deleted_label_is_said_once() -> None:
    watched = await labelled(3, new_labels=99)
    watched.world.labelling.take_away(2)
    for _ in range(3):
        await watched.sweep()
        await watched.poll()
    assert watched.gone() == [(image(2).sha256, "good", "deleted")]
    assert watched.world.labelling.swept == 1


async def test_without_a_change_of_the_count_nothing_is_listed() -> None:
    watched = await labelled(3, new_labels=99)
    await watched.sweep()
    watched.world.labelling.label(1, "bad", by="bob")
    await watched.poll()
    for _ in range(3):
        await watched.sweep()
    assert watched.world.labelling.swept == 1


async def test_a_deleted_task_takes_its_label_along() -> None:
    watched = await labelled(3, new_labels=99)
    await watched.sweep()
    del watched.world.labelling.tasks[3]
    await watched.sweep()
    assert watched.gone() == [(image(3).sha256, "bad", "deleted")]


async def test_one_given_and_one_deleted_between_two_looks_are_both_seen() -> None:
    watched = await labelled(3, new_labels=99)
    await watched.sweep()
    watched.world.labelling.take_away(1)
    watched.world.labelling.label(2, "bad", by="bob")
    await watched.poll()
    await watched.sweep()
    assert watched.gone() == [(image(1).sha256, "bad", "deleted")]


async def test_a_label_that_is_skipped_later_is_withdrawn_at_once_and_can_be_given_again() -> None:
    watched = await labelled(2, new_labels=99)
    watched.world.labelling.skip(1)
    for _ in range(2):
        await watched.poll()
        await watched.sweep()
    assert watched.gone() == [(image(1).sha256, "bad", "skipped")]
    watched.world.labelling.label(1, "good")
    watched.world.pass_time(1)
    await watched.poll()
    watched.world.labelling.skip(1)
    watched.world.pass_time(1)
    await watched.poll()
    assert watched.gone()[1:] == [(image(1).sha256, "good", "skipped")]


async def test_a_task_that_was_always_skipped_withdraws_nothing() -> None:
    watched = Watched(await with_tasks(1, new_labels=99))
    watched.world.labelling.label(1, "good", skipped=True)
    await watched.poll()
    await watched.sweep()
    assert watched.gone() == []


async def test_a_label_that_a_list_overlooks_is_not_withdrawn() -> None:
    watched = await labelled(3, new_labels=99)
    watched.world.labelling.overlooked = {1, 2}
    await watched.sweep()
    assert watched.gone() == []


async def test_a_label_that_is_deleted_and_then_skipped_is_missed() -> None:
    watched = await labelled(3, new_labels=99)
    await watched.sweep()
    watched.world.labelling.take_away(1)
    watched.world.labelling.label(1, "good", skipped=True)
    await watched.sweep()
    assert watched.gone() == [(image(1).sha256, "bad", "deleted")]


async def test_however_many_a_list_overlooks_all_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(withdrawing, "_MOST_AT_ONCE", 2)
    watched = await labelled(5, new_labels=99)
    watched.world.labelling.overlooked = {1, 2, 3}
    watched.world.labelling.take_away(5)
    for _ in range(2):
        await watched.sweep()
    assert watched.gone() == [(image(5).sha256, "bad", "deleted")]


async def test_a_withdrawn_label_makes_a_version_without_it() -> None:
    watched = await labelled(4, new_labels=4, quiet_s=60)
    watched.world.labelling.take_away(4)
    await watched.sweep()
    watched.world.pass_time(60)
    await watched.poll()
    first, second = watched.world.bus.of(DatasetVersioned)
    assert (first.labels, second.labels) == (4, 3)


async def test_after_a_crash_between_what_is_kept_and_what_is_said_it_is_said() -> None:
    watched = await labelled(2, new_labels=99)
    watched.world.labelling.take_away(1)
    await watched.sweep()
    watched.world.bus.said = [one for one in watched.world.bus.said if not isinstance(one[0], LabelWithdrawn)]
    again = Watched(watched.world)
    await again.sweep()
    assert again.gone() == [(image(1).sha256, "bad", "deleted")]
    cursor, _ = await watched.world.cursors.labels("solar")
    assert set(cursor.pending) == {image(1).sha256[:12], image(2).sha256[:12]}


async def test_another_process_knows_from_the_stream_what_was_said() -> None:
    watched = await labelled(3, new_labels=99)
    watched.world.labelling.take_away(1)
    await watched.sweep()
    other = Watched(watched.world)
    watched.world.labelling.take_away(2)
    await other.sweep()
    assert len(watched.world.bus.of(LabelSubmitted)) == 3
    assert [one[0] for one in other.gone()] == [image(1).sha256, image(2).sha256]
