import io

import numpy as np
import pytest
from PIL import Image

from services.trainer.dataset import Example
from services.trainer.logged.pictures import Pixels, pictures, reliability, worst_mistakes
from services.trainer.recipes.recipe import Validated

CLASSES = ("good", "bad")
# Answers to images of the classes 0, 0, 1, 1: right, wrong and sure, right, wrong and in doubt.
LABELS = np.array([0, 0, 1, 1])
SAID = np.array([[0.9, 0.1], [0.05, 0.95], [0.2, 0.8], [0.6, 0.4]], np.float32)


def example(number: int, label: int) -> Example:
    return Example(f"{number:064x}", f"blob://{number:064x}.png", label, "validation", 20, 10)


def validated(said: np.ndarray = SAID) -> Validated:
    return Validated(tuple(example(number, int(label)) for number, label in enumerate(LABELS)), said)


def pixels(example: Example) -> Pixels:
    return np.full((3, 10, 20), 99, np.uint8)


def test_the_worst_mistake_is_the_surest() -> None:
    assert worst_mistakes(LABELS, SAID) == [1, 3]


def test_bins_of_a_reliability_diagram_have_equally_many_images() -> None:
    bins = reliability(LABELS, SAID, bins=2)
    assert [count for _, _, count in bins] == [2, 2]
    assert [right for _, right, _ in bins] == [0.5, 0.5]
    assert [sure for sure, _, _ in bins] == pytest.approx([0.7, 0.925])
    assert len(reliability(LABELS, SAID, bins=10)) == 4


def test_pictures_are_pngs_and_the_same_each_time() -> None:
    drawn = pictures(validated(), CLASSES, pixels)
    assert sorted(drawn) == ["confusion_matrix.png", "reliability_diagram.png", "worst_mistakes.png"]
    assert all(Image.open(io.BytesIO(data)).format == "PNG" for data in drawn.values())
    assert pictures(validated(), CLASSES, pixels) == drawn


def test_without_mistakes_there_is_no_grid_and_without_images_no_picture() -> None:
    right = np.eye(2, dtype=np.float32)[LABELS]
    assert "worst_mistakes.png" not in pictures(validated(right), CLASSES, pixels)
    assert pictures(Validated((), np.zeros((0, 2), np.float32)), CLASSES, pixels) == {}
