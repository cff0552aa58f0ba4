from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.labeling_sync.datasets import (
    Row,
    counts_of,
    dataset_id,
    labelled_images,
    left_out,
    new_labels,
    parted,
    rows_of,
)
from services.labeling_sync.labels import Annotation, Task
from services.labeling_sync.sides import Sides, sides_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
CLASSES = ("good", "bad")


def sha(number: int) -> str:
    return f"{number:064x}"


def annotation(id: int, label: str | None, *, seconds: float = 0, skipped: bool = False, by: str = "ada") -> Annotation:
    return Annotation(id, label, skipped, by, None, NOON + timedelta(seconds=seconds))


def task(number: int, *annotations: Annotation, chosen: str = "random", id: int | None = None) -> Task:
    return Task(
        number if id is None else id, sha(number), f"blob://{sha(number)}.png", chosen, 30, 20, NOON, annotations
    )


def same(name: str) -> str:
    return name


def rows(*tasks: Task) -> list[Row]:
    images = labelled_images(tasks, "last", same)
    return rows_of(images, sides_of(images, [], {}, validation=0.2, test=0.3), {})


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


def test_a_former_name_of_a_class_counts_as_its_name_of_today() -> None:
    tasks = [task(1, annotation(1, "ok")), task(2, annotation(2, "good"), annotation(3, "ok", seconds=1, by="bob"))]
    images = labelled_images(tasks, "agreement", lambda name: {"ok": "good"}.get(name, name))
    assert [one.label.label for one in images if one.label] == ["good", "good"]


def test_metadata_become_slices_and_one_of_them_the_group() -> None:
    cell = replace(task(1, annotation(1, "good")), metadata={"type": "mono", "module": 7, "new": True})
    images = labelled_images([cell, task(2, annotation(2, "bad"))], "last", same, "module")
    one, other = rows_of(images, Sides({sha(1): "train", sha(2): "test"}), {sha(1): "f" * 64})
    assert (one.group, one.slices) == ("7", '{"module": 7, "new": true, "type": "mono"}')
    assert one.perceptual_hash == "f" * 64
    assert (other.group, other.slices, other.perceptual_hash) == ("", "{}", "")


def test_what_is_left_out_is_told_with_its_reason() -> None:
    decided, disputed = parted(
        labelled_images(
            [task(1, annotation(1, "good"), annotation(2, "bad", by="bob")), task(2, annotation(3, "bad"))],
            "agreement",
            same,
        )
    )
    assert [one.sha256 for one in decided] == [sha(2)]
    told = left_out(disputed, Sides(left_out={sha(n): "near-duplicate" for n in range(3, 153)}))
    assert [(one.why, one.count, len(one.images)) for one in told] == [
        ("people-disagree", 1, 1),
        ("near-duplicate", 150, 100),
    ]
    assert told[0].sentence.startswith("1 image is left out because people do not agree")
