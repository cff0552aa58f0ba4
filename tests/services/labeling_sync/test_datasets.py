from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.labeling_sync.datasets import (
    MAX_IMAGES_NAMED,
    Row,
    counts_of,
    dataset_id,
    failed_checks,
    new_labels,
    rows_of,
    share_of,
    split_of,
)
from services.labeling_sync.labels import Annotation, Task

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
CLASSES = ("good", "bad")


def sha(number: int) -> str:
    return f"{number:064x}"


def annotation(id: int, label: str | None, *, seconds: float = 0, skipped: bool = False) -> Annotation:
    return Annotation(id, label, skipped, "ada", None, NOON + timedelta(seconds=seconds))


def task(number: int, *annotations: Annotation, chosen: str = "random", id: int | None = None) -> Task:
    return Task(
        number if id is None else id, sha(number), f"blob://{sha(number)}.png", chosen, 30, 20, NOON, annotations
    )


def rows(*tasks: Task) -> list[Row]:
    return rows_of(tasks, validation=0.2, test=0.3)


def test_an_image_never_changes_sides_and_shares_are_kept() -> None:
    images = [sha(number) for number in range(4_000)]
    sides = [split_of(image, "random", validation=0.2, test=0.3) for image in images]
    assert sides == [split_of(image, "random", validation=0.2, test=0.3) for image in images]
    assert abs(sides.count("test") / 4_000 - 0.3) < 0.03
    assert abs(sides.count("validation") / 4_000 - 0.2) < 0.03
    grown = [split_of(image, "random", validation=0.4, test=0.3) for image in images]
    assert all(after == "test" for before, after in zip(sides, grown, strict=True) if before == "test")


def test_uncertain_and_corrected_images_only_train() -> None:
    for chosen in ("uncertain", "corrected"):
        assert {split_of(sha(n), chosen, validation=0.5, test=0.3) for n in range(200)} == {"train"}


def test_the_side_of_an_image_does_not_hang_on_whether_it_was_drawn() -> None:
    drawn = [sha(n) for n in range(4_000) if share_of("draw", sha(n)) < 0.1]
    in_test = sum(split_of(image, "random", validation=0.2, test=0.3) == "test" for image in drawn)
    assert abs(in_test / len(drawn) - 0.3) < 0.08


def test_the_latest_label_counts_and_skipped_or_empty_ones_do_not() -> None:
    (row,) = rows(
        task(
            1,
            annotation(1, "good"),
            annotation(2, "bad", seconds=1),
            annotation(3, "good", seconds=2, skipped=True),
            annotation(4, None, seconds=3),
        ),
        task(2, annotation(5, "good", skipped=True)),
        task(3),
    )
    assert (row.sha256, row.label, row.annotator, row.width, row.height) == (sha(1), "bad", "ada", 30, 20)


def test_an_image_with_two_tasks_is_one_row_chosen_as_the_older_task_says() -> None:
    (row,) = rows(
        task(1, annotation(2, "bad", seconds=5), chosen="corrected", id=9), task(1, annotation(1, "good"), id=4)
    )
    assert (row.label, row.chosen) == ("bad", "random")


def test_a_task_put_in_by_hand_is_no_part_of_a_dataset() -> None:
    strange = replace(task(1, annotation(1, "good")), sha256="cat.png", uri="")
    assert rows(strange) == []


def test_identity_is_what_a_training_can_tell_apart() -> None:
    one = rows(task(1, annotation(1, "good")), task(2, annotation(2, "bad")))
    other_person = [replace(row, annotator="bob", width=1) for row in reversed(one)]
    relabelled = [replace(one[0], label="bad"), one[1]]
    assert dataset_id(one, CLASSES, None) == dataset_id(other_person, CLASSES, None)
    ids = {
        dataset_id(one, CLASSES, None),
        dataset_id(relabelled, CLASSES, None),
        dataset_id(one, CLASSES[::-1], None),
        dataset_id(one, CLASSES, "0" * 16),
    }
    assert len(ids) == 4
    assert all(len(id) == 16 for id in ids)


def test_counts_and_new_labels() -> None:
    some = [Row(sha(n), "", "good", "train", "random", "", 1, 1) for n in range(3)]
    some.append(Row(sha(3), "", "bad", "test", "random", "", 1, 1))
    assert counts_of(some, CLASSES) == [
        ("good", {"train": 3, "validation": 0, "test": 0}),
        ("bad", {"train": 0, "validation": 0, "test": 1}),
    ]
    assert new_labels(some, {sha(0): "good", sha(1): "bad"}) == 3


def test_failed_checks_say_what_to_do_and_name_images() -> None:
    many = [Row(sha(n), "", "odd", "train", "random", "", 1, 1) for n in range(150)]
    good = [Row(sha(200 + n), "", "good", "train", "random", "", 1, 1) for n in range(5)]
    checks = {one.check: one for one in failed_checks([*many, *good], "solar", CLASSES, 5, {sha(200): "gone"})}
    assert set(checks) == {"label-not-on-card", "picture-unreadable", "too-few-of-a-class"}
    assert checks["label-not-on-card"].sentence.startswith("150 images are labelled odd, which is not on the card")
    assert len(checks["label-not-on-card"].images) == MAX_IMAGES_NAMED
    assert checks["picture-unreadable"].images == (sha(200),)
    assert checks["too-few-of-a-class"].sentence.startswith("bad has 0 training images of the 5")


def test_nothing_labelled_is_one_failed_check() -> None:
    (check,) = failed_checks([], "solar", CLASSES, 5, {})
    assert check.check == "no-labels"
