"""What keeps labelled images from being a dataset version. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.labeling_sync.datasets import MAX_IMAGES_NAMED, LeftOut, Row, counts_of, images_are


@dataclass(frozen=True)
class Failed:
    """A data check that did not hold; `images` are the sha256 of the offending ones, at most `MAX_IMAGES_NAMED`."""

    check: str
    sentence: str
    images: tuple[str, ...] = ()


def failed_checks(
    rows: Sequence[Row],
    project: str,
    classes: Sequence[str],
    min_train_per_class: int,
    unreadable: Mapping[str, str],
    *,
    every_class: bool = True,
    left_out: Sequence[LeftOut] = (),
) -> list[Failed]:
    """What keeps the rows from being a dataset version. `unreadable`: sha256 of bad pictures, and why.

    `left_out` are the labelled images that have no row.

    Where the recipe does not need `every_class`, only the card's first class must have images to train on.
    """
    if not rows and left_out:
        why = "; ".join(one.sentence for one in left_out)
        return [Failed("no-labels", f"no label of {project} can be used: {why}", left_out[0].images)]
    if not rows:
        return [Failed("no-labels", f"no image of {project} is labelled yet: label some in Label Studio")]
    failed = []
    strange = [row for row in rows if row.label not in classes]
    if strange:
        names = ", ".join(sorted({row.label for row in strange}))
        failed.append(
            Failed(
                "label-not-on-card",
                f"{images_are(len(strange))} labelled {names}, which is not on the card of {project}: label again in "
                "Label Studio, put the class back on the card, or name its successor there under data.renamed",
                tuple(row.sha256 for row in strange[:MAX_IMAGES_NAMED]),
            )
        )
    if unreadable:
        first = next(iter(unreadable.values()))
        failed.append(
            Failed(
                "picture-unreadable",
                f"{images_are(len(unreadable))} not to be read, such as: {first}; "
                "put the file back into the blob store, or delete the task in Label Studio",
                tuple(unreadable)[:MAX_IMAGES_NAMED],
            )
        )
    shown = {row.label for row in rows}
    if every_class and len(shown) == 1 and shown <= set(classes):
        others = " or ".join(name for name in classes if name not in shown)
        failed.append(
            Failed(
                "all-labels-alike",
                f"all {len(rows)} images are labelled {shown.pop()}, so there is nothing to tell apart: "
                f"label some that are {others}",
            )
        )
        return failed
    for label, count in counts_of(rows, classes if every_class else classes[:1]):
        if count["train"] < min_train_per_class:
            failed.append(
                Failed(
                    "too-few-of-a-class",
                    f"{label} has {count['train']} training images of the {min_train_per_class} "
                    "that min_train_per_class asks for: label more of them",
                )
            )
    return failed
