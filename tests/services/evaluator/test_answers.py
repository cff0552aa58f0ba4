from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from services.chassis.blobs import Blobs, Cache
from services.chassis.errors import Rejected
from services.chassis.images import encode_png
from services.evaluator.answers import BATCH, Answer, answers
from tests.manifests import picture


@dataclass(frozen=True)
class StoredImage:
    sha256: str
    uri: str
    width: int
    height: int


class FakeModel:
    """Answers the mean brightness as the first of two probabilities; keeps the shapes it is shown."""

    def __init__(self) -> None:
        self.loaded = 0
        self.shapes: list[tuple[int, ...]] = []

    def load(self) -> Answer:
        self.loaded += 1
        return self.answer

    def answer(self, images: np.ndarray) -> np.ndarray:
        self.shapes.append(images.shape)
        bright = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([bright, 1 - bright], axis=1).astype(np.float32)


class Store:
    def __init__(self, root: Path) -> None:
        self.blobs = Blobs(str(root / "blobs"))
        self.cache = Cache(str(root / "kept"), "answers/test")

    def image(self, number: int, side: int = 40) -> StoredImage:
        ref = self.blobs.put(encode_png(picture(0, number, side)), "png")
        return StoredImage(ref.sha256, ref.uri, side, side)

    def ask(self, model: FakeModel, images: list[StoredImage]) -> np.ndarray:
        return answers(images, load=model.load, classes=2, max_side=64, blobs=self.blobs, cache=self.cache)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_model_is_asked_once_about_an_image_and_then_only_about_new_ones(store: Store) -> None:
    images = [store.image(number) for number in range(BATCH + 2)]
    first, second, third = FakeModel(), FakeModel(), FakeModel()
    found = store.ask(first, images)
    expected = [picture(0, number, 40).mean() / 255 for number in range(BATCH + 2)]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5)

    np.testing.assert_array_equal(store.ask(second, [store.image(99), *images[::-1]])[1:][::-1], found)
    assert second.shapes == [(1, 3, 40, 40)]
    np.testing.assert_array_equal(store.ask(third, images), found)
    assert third.loaded == 0


def test_images_of_one_shape_are_asked_together_and_large_ones_are_shrunk(store: Store) -> None:
    model = FakeModel()
    store.ask(model, [store.image(number, side) for number, side in enumerate((40, 100, 50, 40, 100))])
    assert sorted(model.shapes) == [(1, 3, 50, 50), (2, 3, 40, 40), (2, 3, 64, 64)]


def test_an_unreadable_image_is_named(store: Store) -> None:
    ref = store.blobs.put(b"no picture", "png")
    with pytest.raises(Rejected, match=f"test image {ref.sha256[:12]} is unreadable, take its label away"):
        store.ask(FakeModel(), [StoredImage(ref.sha256, ref.uri, 8, 8)])
