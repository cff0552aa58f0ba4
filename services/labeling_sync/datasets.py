"""From labelled tasks to the rows of a dataset version, their identity and what is left out. Pure functions."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.labeling_sync.annotators import Rule, opinions, resolved
from services.labeling_sync.labels import Annotation, Metadata, Task
from services.labeling_sync.sides import SPLITS, Sides, Split

MAX_IMAGES_NAMED = 100
DISAGREE, NEAR_DUPLICATE, GROUP = "people-disagree", "near-duplicate", "group"


@dataclass(frozen=True)
class LabelledImage:
    """An image, the latest opinion of each who labelled it (`given`), and the one that counts, if any.

    Width and height in pixels.
    """

    sha256: str
    uri: str
    chosen: str
    width: int
    height: int
    given: tuple[Annotation, ...]
    label: Annotation | None
    metadata: Metadata = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a manifest. Width and height in pixels; `slices` is JSON, `perceptual_hash` 64 hex digits or ""."""

    sha256: str
    uri: str
    label: str
    split: Split
    chosen: str
    annotator: str
    width: int
    height: int
    group: str = ""
    slices: str = "{}"
    perceptual_hash: str = ""


@dataclass(frozen=True)
class Before:
    """What the parent of a version knew, by sha256: labels and perceptual hashes of its images, and every side.

    `sides` also has images that were in an earlier version and are in no more: should they come back, they are on the
    side where they were.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, Split] = field(default_factory=dict)

    def sides_without(self, rows: Iterable[Row]) -> dict[str, Split]:
        """The sides of the images that are in no row."""
        there = {row.sha256 for row in rows}
        return {sha256: side for sha256, side in sorted(self.sides.items()) if sha256 not in there}


@dataclass(frozen=True)
class LeftOut:
    """Images that are labelled and yet no part of the version; `images` at most `MAX_IMAGES_NAMED`."""

    why: str
    count: int
    sentence: str
    images: tuple[str, ...]


def labelled_images(
    tasks: Iterable[Task], rule: Rule, class_of: Callable[[str], str], group_by: str = ""
) -> list[LabelledImage]:
    """Each image that somebody labelled, by sha256. `class_of` gives today's name of a class.

    Should an image have two tasks, the older one says how it was chosen, and the labels of both count.
    """
    of_image: defaultdict[str, list[Task]] = defaultdict(list)
    for task in sorted(tasks, key=lambda task: task.id):
        if task.is_ours:
            of_image[task.sha256].append(task)
    images = []
    for sha256, (first, *more) in sorted(of_image.items()):
        given = opinions(annotation for task in (first, *more) for annotation in task.annotations)
        named = tuple(replace(one, label=class_of(one.label)) if one.label else one for one in given)
        if named:
            images.append(
                LabelledImage(
                    sha256, first.uri, first.chosen, first.width, first.height, named, resolved(named, rule),
                    metadata=first.metadata,
                    group=str(first.metadata.get(group_by, "")) if group_by else "",
                )
            )  # fmt: skip
    return images


def rows_of(images: Iterable[LabelledImage], sides: Sides, hashes: Mapping[str, str]) -> list[Row]:
    """A row for each image that has a label and a side. `hashes` are perceptual hashes by sha256."""
    return [
        Row(
            image.sha256, image.uri, image.label.label, sides.of[image.sha256], image.chosen, image.label.annotator,
            image.width, image.height,
            group=image.group,
            slices=json.dumps(dict(image.metadata), sort_keys=True, ensure_ascii=False),
            perceptual_hash=hashes.get(image.sha256, ""),
        )
        for image in images
        if image.label and image.label.label and image.sha256 in sides.of
    ]  # fmt: skip


def parted(images: Iterable[LabelledImage]) -> tuple[list[LabelledImage], list[str]]:
    """Those that have a label, and the sha256 of those on which people do not agree."""
    images = list(images)
    return [one for one in images if one.label], [one.sha256 for one in images if not one.label]


def left_out(disputed: Sequence[str], sides: Sides) -> list[LeftOut]:
    """What is no part of the version, with a sentence for a person."""
    of: dict[str, list[str]] = {DISAGREE: list(disputed), NEAR_DUPLICATE: [], GROUP: []}
    for sha256, why in sorted(sides.left_out.items()):
        of[why].append(sha256)
    return [
        LeftOut(why, len(images), _why_left_out(why, len(images)), tuple(images[:MAX_IMAGES_NAMED]))
        for why, images in of.items()
        if images
    ]


def _why_left_out(why: str, count: int) -> str:
    one = count == 1
    because = {
        DISAGREE: f"people do not agree on {'it' if one else 'them'}: "
        "let them change or delete a label in Label Studio",
        NEAR_DUPLICATE: f"{'it looks like one' if one else 'they look like some'} on the other side of the split",
        GROUP: f"{'its group is' if one else 'their groups are'} on the other side of the split",
    }
    return f"{images_are(count)} left out because {because[why]}"


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


def images_are(count: int) -> str:
    """`1 image is`, `3 images are`."""
    return f"{count} image is" if count == 1 else f"{count} images are"
