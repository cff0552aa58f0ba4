"""From labelled tasks to the rows of a dataset version: sides, checks, identity. Pure functions."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.labeling_sync.labels import Task, latest

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
MAX_IMAGES_NAMED = 100


@dataclass(frozen=True)
class Row:
    """One line of a manifest. Width and height in pixels."""

    sha256: str
    uri: str
    label: str
    split: Split
    chosen: str
    annotator: str
    width: int
    height: int


@dataclass(frozen=True)
class Failed:
    """A data check that did not hold; `images` are the sha256 of the offending ones, at most `MAX_IMAGES_NAMED`."""

    check: str
    sentence: str
    images: tuple[str, ...] = ()


def share_of(purpose: str, sha256: str) -> float:
    """A number in 0..1 that hangs on the image alone; another purpose gives an independent one."""
    digest = hashlib.sha256(f"{purpose}:{sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(sha256: str, chosen: str, *, validation: float, test: float) -> Split:
    """The side of an image, which it never changes.

    Only an image that was drawn at random may judge a model: uncertain and corrected ones are harder than the world is.
    """
    if chosen != "random":
        return "train"
    share = share_of("split", sha256)
    if share < test:
        return "test"
    return "validation" if share < test + validation else "train"


def rows_of(tasks: Iterable[Task], *, validation: float, test: float) -> list[Row]:
    """A row for each labelled image, by sha256.

    Should an image have two tasks, the older one says how it was chosen, and the latest label of both counts.
    """
    of_image: defaultdict[str, list[Task]] = defaultdict(list)
    for task in sorted(tasks, key=lambda task: task.id):
        if task.is_ours:
            of_image[task.sha256].append(task)
    rows = []
    for sha256, (first, *more) in sorted(of_image.items()):
        label = latest(annotation for task in (first, *more) for annotation in task.annotations)
        if label and label.label:
            split = split_of(sha256, first.chosen, validation=validation, test=test)
            rows.append(
                Row(sha256, first.uri, label.label, split, first.chosen, label.annotator, first.width, first.height)
            )
    return rows


def dataset_id(rows: Sequence[Row], classes: Sequence[str], parent_id: str | None) -> str:
    """First 16 hex digits of the hash of what a training can tell apart: classes in order; image, label and side.

    Who labelled is not part of it: the same label said by somebody else is no reason to train again. The parent is:
    labels that are changed and changed back are a new version, whose fact must not be taken for a repetition.
    """
    digest = hashlib.sha256(json.dumps([parent_id, *classes], ensure_ascii=False).encode())
    for row in sorted(rows, key=lambda row: row.sha256):
        digest.update(json.dumps([row.sha256, row.label, row.split], ensure_ascii=False).encode())
    return digest.hexdigest()[:16]


def counts_of(rows: Iterable[Row], classes: Sequence[str]) -> list[tuple[str, dict[Split, int]]]:
    """Images of each class in each split, in the order of classes."""
    counted = Counter((row.label, row.split) for row in rows)
    return [(label, {split: counted[label, split] for split in SPLITS}) for label in classes]


def new_labels(rows: Iterable[Row], before: Mapping[str, str]) -> int:
    """How many labels are new or changed against `before` (sha256 -> label)."""
    return sum(before.get(row.sha256) != row.label for row in rows)


def failed_checks(
    rows: Sequence[Row], project: str, classes: Sequence[str], min_train_per_class: int, unreadable: Mapping[str, str]
) -> list[Failed]:
    """What keeps the rows from being a dataset version. `unreadable`: sha256 of bad pictures, and why."""
    if not rows:
        return [Failed("no-labels", f"no image of {project} is labelled yet: label some in Label Studio")]
    failed = []
    strange = [row for row in rows if row.label not in classes]
    if strange:
        names = ", ".join(sorted({row.label for row in strange}))
        failed.append(
            Failed(
                "label-not-on-card",
                f"{_images(len(strange))} labelled {names}, which is not on the card of {project}: "
                "label again in Label Studio, or put the class back on the card",
                tuple(row.sha256 for row in strange[:MAX_IMAGES_NAMED]),
            )
        )
    if unreadable:
        first = next(iter(unreadable.values()))
        failed.append(
            Failed(
                "picture-unreadable",
                f"{_images(len(unreadable))} not to be read, such as: {first}; "
                "put the file back into the blob store, or delete the task in Label Studio",
                tuple(unreadable)[:MAX_IMAGES_NAMED],
            )
        )
    for label, count in counts_of(rows, classes):
        if count["train"] < min_train_per_class:
            failed.append(
                Failed(
                    "too-few-of-a-class",
                    f"{label} has {count['train']} training images of the {min_train_per_class} "
                    "that min_train_per_class asks for: label more of them",
                )
            )
    return failed


def _images(count: int) -> str:
    return f"{count} image is" if count == 1 else f"{count} images are"
