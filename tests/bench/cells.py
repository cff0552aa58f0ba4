"""ELPV as the benches of models see it: 2,624 cells, stratified into 1,968 to learn from and 656 to test on."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from services.chassis.blobs import Blobs
from services.chassis.images import size
from services.cli.datasets import elpv
from services.trainer.dataset import Dataset, Example, Split

CLASSES = ("functional", "defective")
TEST = 656
VALIDATION = 100  # of the 1,968: confidence is calibrated on them


@dataclass(frozen=True)
class Cell:
    """A photograph that is in the blob store; `kind` is mono or poly."""

    sha256: str
    uri: str
    label: int
    kind: str
    width: int
    height: int

    def example(self, split: Split) -> Example:
        """As the trainer sees it."""
        return Example(self.sha256, self.uri, self.label, split, self.width, self.height)


def cells(blobs: Blobs) -> list[Cell]:
    """All of them, by name."""
    found = []
    for image in sorted(elpv(), key=lambda image: image.name):
        blob = blobs.put(image.encoded, "png")
        width, height = size(image.encoded)
        label, kind = CLASSES.index(str(image.label)), str(image.metadata["type"])
        found.append(Cell(blob.sha256, blob.uri, label, kind, width, height))
    return found


def divided(known: list[Cell], seed: int) -> tuple[list[Cell], list[Cell]]:
    """1,968 to learn from and 656 to test on, each with its share of each class and kind."""
    strata = [f"{cell.label} {cell.kind}" for cell in known]
    learn, test = train_test_split(np.arange(len(known)), test_size=TEST, stratify=strata, random_state=seed)
    return [known[place] for place in learn], [known[place] for place in test]


def dataset(learn: list[Cell], seed: int, validation: int = VALIDATION) -> Dataset:
    """A dataset version of these cells, so many of them in validation; the test cells are in nobody's reach."""
    sides: list[Split] = ["train"] * len(learn)
    if validation:
        labels = [cell.label for cell in learn]
        _, aside = train_test_split(np.arange(len(learn)), test_size=validation, stratify=labels, random_state=seed)
        for place in aside:
            sides[place] = "validation"
    examples = [cell.example(side) for cell, side in zip(learn, sides, strict=True)]
    return Dataset(CLASSES, tuple(sorted(examples, key=lambda example: example.sha256)))
