"""A dataset version as the trainer sees it: which image shows what, and which side it is on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# Of the manifest.
COLUMNS = ("sha256", "uri", "label", "split", "width", "height")


class NotTrainable(ValueError):
    """No model can be trained on this dataset; the text says why and what to do."""


@dataclass(frozen=True)
class Example:
    """One labelled image. `label` is the index of its class; width and height are pixels as stored."""

    sha256: str
    uri: str
    label: int
    split: Split
    width: int
    height: int


@dataclass(frozen=True)
class Dataset:
    """All examples, by sha256, so that the order of the manifest changes nothing."""

    classes: tuple[str, ...]
    examples: tuple[Example, ...]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], classes: Sequence[str], every_class: bool = True) -> "Dataset":
        """From rows of the manifest. Without `every_class` only the first class must have training images.

        Raises:
            NotTrainable: a row names a class or a split that is not known, or a class has no training image.
        """
        index = {name: position for position, name in enumerate(classes)}
        examples = sorted((_example(row, index) for row in rows), key=lambda example: example.sha256)
        dataset = cls(tuple(classes), tuple(examples))
        shown = {example.label for example in dataset.of_split("train")}
        needed = classes if every_class else classes[:1]
        missing = [name for name in needed if index[name] not in shown]
        if missing:
            raise NotTrainable(
                f"no training image shows {' or '.join(missing)}: label some of that class, or take it off the card"
            )
        return dataset

    def of_split(self, *splits: Split) -> tuple[Example, ...]:
        """The examples of these splits."""
        return tuple(example for example in self.examples if example.split in splits)

    def golden(self, most: int) -> tuple[Example, ...]:
        """At most `most` examples to check a node with: from test before validation before train, classes in turn."""
        chosen: list[Example] = []
        for split in reversed(SPLITS):
            by_class = [[e for e in self.of_split(split) if e.label == label] for label in range(len(self.classes))]
            for turn in range(max(map(len, by_class), default=0)):
                chosen += [of_one[turn] for of_one in by_class if turn < len(of_one)]
                if len(chosen) >= most:
                    return tuple(chosen[:most])
        return tuple(chosen)


def _example(row: Mapping[str, Any], index: Mapping[str, int]) -> Example:
    if row["label"] not in index:
        raise NotTrainable(
            f"the manifest has the class {row['label']!r}, which is not one of {', '.join(index)}: "
            "freeze a new dataset version"
        )
    if row["split"] not in SPLITS:
        raise NotTrainable(f"the manifest has the split {row['split']!r}, which is not one of {', '.join(SPLITS)}")
    return Example(row["sha256"], row["uri"], index[row["label"]], row["split"], int(row["width"]), int(row["height"]))
