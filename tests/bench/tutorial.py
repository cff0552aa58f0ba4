"""The recipe `tutorial` on 40 labelled cells, 32 of them to train, beside what its authors published."""

import numpy as np

from services.chassis.blobs import Blobs
from services.trainer.dataset import Dataset
from services.trainer.recipes.parameters import Tutorial
from services.trainer.recipes.recipe import Context
from services.trainer.recipes.tutorial import train
from tests.bench.cells import CLASSES, Cell

PUBLISHED = (0.875, 0.75, 0.625, 0.50)
GOOD, BAD = 30, 10
_TEST = {0: 6, 1: 2}


def accuracies(known: list[Cell], blobs: Blobs, kept_root: str, lr: float, seed: int) -> float:
    """Accuracy on 8 of 40 cells, 30 of them good, drawn by the seed, as the tutorial measured it."""
    chance = np.random.default_rng(seed)
    examples = []
    for label, count in enumerate((GOOD, BAD)):
        of_class = [cell for cell in known if cell.label == label]
        for place, one in enumerate(chance.choice(len(of_class), count, replace=False)):
            examples.append(of_class[one].example("validation" if place < _TEST[label] else "train"))
    dataset = Dataset(CLASSES, tuple(sorted(examples, key=lambda example: example.sha256)))
    # The tutorial has no test set: its numbers are of validation.
    made = train(dataset, Tutorial(lr=lr).model_dump(), Context(blobs, kept_root, seed, lambda *_: None))
    return made.metrics["validation_accuracy"]
