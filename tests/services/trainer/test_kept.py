from collections.abc import Callable

import numpy as np
import pytest
import torch

from services.chassis.blobs import Blobs, Cache
from services.chassis.errors import Rejected
from services.chassis.images import encode_png
from services.trainer.dataset import Example
from services.trainer.recipes.kept import BATCH, KeptFeatures
from tests.manifests import picture

WIDTH = 3


class Extract:
    """Mean of each channel; remembers the shapes of the batches it was given."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(images.shape))
        return images.to(torch.float32).mean(dim=(2, 3))


@pytest.fixture
def blobs(tmp_path: object) -> Blobs:
    return Blobs(f"{tmp_path}/blobs")


@pytest.fixture
def kept(tmp_path: object, blobs: Blobs) -> Callable[[Extract], KeptFeatures]:
    cache = Cache(f"{tmp_path}/kept", "features/test")
    return lambda extract: KeptFeatures(blobs, cache, extract, width=WIDTH, max_side=64)


def stored(blobs: Blobs, number: int, side: int = 40) -> Example:
    image = blobs.put(encode_png(picture(0, number, side)), "png")
    return Example(image.sha256, image.uri, 0, "train", side, side)


def test_features_are_computed_once_for_an_image_and_come_in_the_order_asked(
    blobs: Blobs, kept: Callable[[Extract], KeptFeatures]
) -> None:
    examples = [stored(blobs, number) for number in range(BATCH + 3)]
    first, second, reported = Extract(), Extract(), []
    features = kept(first).of(examples, lambda done, total: reported.append((done, total)))
    expected = [picture(0, number, 40).mean() for number in range(BATCH + 3)]
    np.testing.assert_allclose(features[:, 0].numpy(), expected, rtol=1e-5)
    assert reported == [(BATCH, BATCH + 3), (BATCH + 3, BATCH + 3)]

    new = stored(blobs, 99)
    again = kept(second).of([new, *examples[::-1]])
    torch.testing.assert_close(again[1:].flip(0), features, atol=0, rtol=0)
    assert second.shapes == [(1, 3, 40, 40)]


def test_images_of_one_shape_are_looked_at_together_and_large_ones_are_shrunk(
    blobs: Blobs, kept: Callable[[Extract], KeptFeatures]
) -> None:
    extract = Extract()
    sides = (40, 100, 50, 40, 100)
    kept(extract).of([stored(blobs, number, side) for number, side in enumerate(sides)])
    assert sorted(extract.shapes) == [(1, 3, 50, 50), (2, 3, 40, 40), (2, 3, 64, 64)]


def test_what_was_kept_damaged_is_computed_again(
    tmp_path: object, blobs: Blobs, kept: Callable[[Extract], KeptFeatures]
) -> None:
    example = stored(blobs, 1)
    Cache(f"{tmp_path}/kept", "features/test").put(example.sha256, b"half a fi")
    extract = Extract()
    kept(extract).of([example])
    assert len(extract.shapes) == 1


def test_an_image_that_is_gone_or_unreadable_is_named(blobs: Blobs, kept: Callable[[Extract], KeptFeatures]) -> None:
    broken = blobs.put(b"\x89PNG\r\n\x1a\n and no more", "png")
    with pytest.raises(Rejected, match=f"image {broken.sha256[:12]} is unreadable, take its label away"):
        kept(Extract()).of([Example(broken.sha256, broken.uri, 0, "train", 8, 8)])
    with pytest.raises(Rejected, match="is not in the blob store"):
        kept(Extract()).of([Example("0" * 64, f"blob://{'0' * 64}.png", 0, "train", 8, 8)])
