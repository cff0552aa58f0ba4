from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from services.labeling_sync.cursors import OVERLAP, LabelCursor, QueryCursor
from services.labeling_sync.labels import Annotation, Task

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def labelled(number: int, seconds: float, *, annotation: int | None = None, skipped: bool = False) -> Task:
    one = Annotation(annotation or number, "good", skipped, "ada", 1.5, at(seconds))
    return Task(number, f"{number:064x}"[::-1], "blob://x", "random", 1, 1, at(seconds), (one,))


def read(cursor: LabelCursor, tasks: list[Task], now: float) -> tuple[LabelCursor, list[int]]:
    news = cursor.news(tasks)
    return cursor.advanced(tasks, news, at(now)), [annotation.id for _, annotation in news]


def test_a_label_read_twice_within_the_overlap_is_news_once() -> None:
    cursor, news = read(LabelCursor(), [labelled(1, 0), labelled(2, 1)], now=2)
    assert news == [1, 2]
    assert cursor.since(at(3)) == at(1) - OVERLAP
    cursor, news = read(cursor, [labelled(1, 0), labelled(2, 1), labelled(3, 0.5)], now=3)
    assert news == [3]
    assert cursor.position == at(1)


def test_once_it_is_quiet_nothing_is_read_again() -> None:
    cursor, _ = read(LabelCursor(), [labelled(1, 0)], now=1)
    assert cursor.since(at(2)) == at(0) - OVERLAP
    assert cursor.since(at(8)) == at(0)
    assert read(cursor, [], now=8) == (cursor, [])


def test_a_changed_label_is_news_and_one_image_still() -> None:
    cursor, _ = read(LabelCursor(), [labelled(1, 0)], now=1)
    cursor, news = read(cursor, [labelled(1, 3)], now=4)
    assert news == [1]
    assert len(cursor.pending) == 1


def test_an_old_label_on_a_task_that_was_touched_is_no_news() -> None:
    cursor, _ = read(LabelCursor(), [labelled(1, 0), labelled(2, 500)], now=501)
    touched = replace(labelled(1, 0), updated_at=at(510))
    cursor, news = read(cursor, [touched], now=511)
    assert (news, cursor.position) == ([], at(510))


def test_skipped_tasks_move_the_cursor_and_are_no_labels() -> None:
    cursor, news = read(LabelCursor(), [labelled(1, 0, skipped=True)], now=1)
    assert (news, cursor.pending, cursor.position) == ([], (), at(0))
    assert not cursor.is_due(1, 1, at(1_000))


def test_labels_are_due_by_number_or_by_quiet() -> None:
    cursor, _ = read(LabelCursor(), [labelled(1, 0), labelled(2, 1)], now=2)
    assert cursor.is_due(new_labels=2, quiet_s=60, now=at(2))
    assert not cursor.is_due(new_labels=3, quiet_s=60, now=at(61))
    assert cursor.is_due(new_labels=3, quiet_s=60, now=at(62))


def test_after_a_freeze_only_labels_that_it_did_not_see_are_pending() -> None:
    cursor, _ = read(LabelCursor(), [labelled(1, 0)], now=1)
    cursor = cursor.frozen(at(2))
    assert not cursor.is_due(1, 1, at(100))
    cursor, news = read(cursor, [labelled(2, 2), labelled(3, 3)], now=4)
    assert news == [2, 3]
    assert cursor.pending == ("300000000000",)


def test_cursors_survive_their_way_through_kv() -> None:
    cursor, _ = read(LabelCursor(), [labelled(1, 0.000001), labelled(2, 1)], now=2)
    for one in (LabelCursor(), cursor, cursor.frozen(at(2))):
        assert LabelCursor.from_json(one.to_json()) == one
    query = QueryCursor().plan([(4, "random"), (7, "uncertain")], 9, date(2026, 11, 24))
    for kept in (QueryCursor(), query, query.done()):
        assert QueryCursor.from_json(kept.to_json()) == kept


def test_the_budget_is_for_a_day() -> None:
    today, tomorrow = date(2026, 11, 24), date(2026, 11, 25)
    cursor = QueryCursor().plan([(1, "random")] * 3, 9, today).done()
    assert (cursor.seq, cursor.planned, cursor.planned_to) == (9, (), 0)
    assert cursor.budget(5, today) == 2
    assert cursor.budget(2, today) == 0
    assert cursor.budget(5, tomorrow) == 5
