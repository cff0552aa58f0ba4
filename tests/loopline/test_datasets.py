import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contracts.events.base import BlobRef
from loopline import Dataset, Part, Refused
from loopline.datasets import part_of
from services.chassis.blobs import Blobs
from services.chassis.images import encode_png

CLASSES = ("grey", "white")


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"))


def part(blobs: Blobs, *pictures: tuple[int, int, int], max_side: int = 64) -> Part:
    """Of pictures (class, height, width)."""
    rows = []
    for number, (label, height, width) in enumerate(pictures):
        pixels = np.full((height, width), 100 + 155 * label, np.uint8)
        pixels[0, 0] = number
        ref = blobs.put(encode_png(pixels), "png")
        rows.append({"sha256": ref.sha256, "uri": ref.uri, "label": CLASSES[label], "split": "train"})
    return part_of(rows, "train", CLASSES, max_side, blobs)


def test_images_and_labels_are_in_one_order_whatever_that_of_the_manifest(blobs: Blobs) -> None:
    found = part(blobs, (0, 8, 8), (1, 8, 8), (0, 8, 8), (1, 8, 8))
    images = found.images()
    assert (images.dtype, images.shape) == (np.uint8, (4, 3, 8, 8))
    assert [int(image[0, 4, 4] == 255) for image in images] == found.labels.tolist()
    assert list(found.sha256) == sorted(found.sha256)
    assert [path.read_bytes()[:4] for path in found.paths] == [b"\x89PNG"] * 4


def test_a_data_loader_of_torch_takes_it(blobs: Blobs) -> None:
    from torch.utils.data import DataLoader

    (batch,) = DataLoader(part(blobs, (0, 8, 8), (1, 8, 8)), batch_size=2)
    images, labels = batch
    assert tuple(images.shape) == (2, 3, 8, 8)
    assert sorted(labels.tolist()) == [0, 1]


def test_large_images_are_shrunk_as_the_predictor_does(blobs: Blobs) -> None:
    image, _ = part(blobs, (0, 40, 80), max_side=20)[0]
    assert image.shape == (3, 10, 20)


def test_images_of_several_sizes_make_no_array_but_can_be_gone_through(blobs: Blobs) -> None:
    found = part(blobs, (0, 8, 8), (1, 8, 12))
    with pytest.raises(Refused, match=r"2 sizes .*one by one"):
        found.images()
    assert sorted(image.shape for image, _ in found) == [(3, 8, 8), (3, 8, 12)]
    assert len(found[0:2]) == 2


def test_damaged_image_is_named(blobs: Blobs) -> None:
    ref = blobs.put(b"no picture", "png")
    row = {"sha256": ref.sha256, "uri": ref.uri, "label": "grey", "split": "train"}
    with pytest.raises(Refused, match=f"image {ref.sha256[:12]} is unreadable, take its label away"):
        part_of([row], "train", CLASSES, 64, blobs)[0]


def test_pictures_to_try_a_model_on_show_the_classes_in_turn_and_come_from_the_test_first(blobs: Blobs) -> None:
    ref = BlobRef(uri="blob://" + "0" * 64, sha256="0" * 64, size_bytes=0)
    train, validation, test = part(blobs, (0, 8, 8)), part(blobs, (1, 8, 9)), part(blobs, *[(0, 9, 8)] * 2, (1, 9, 8))
    data = Dataset("solar", "0" * 16, 1, CLASSES, 64, train, validation, test, ref)
    assert [(image.shape[1:], image[0, 4, 4] == 255) for image in data.examples(4)] == [
        ((9, 8), False),
        ((9, 8), True),
        ((9, 8), False),
        ((8, 9), True),
    ]
    assert len(data.examples(2)) == 2
    assert len(data.examples(99)) == 5


def test_no_more_pictures_are_read_than_are_tried(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = BlobRef(uri="blob://" + "0" * 64, sha256="0" * 64, size_bytes=0)
    some = part(blobs, *[(0, 8, 8)] * 5)
    data, uris = Dataset("solar", "0" * 16, 1, CLASSES, 64, some, some, some, ref), list[str]()
    read = blobs.read
    monkeypatch.setattr(blobs, "read", lambda uri: (uris.append(uri), read(uri))[1])
    data.examples(2)
    assert len(uris) == 2


def test_import_is_light() -> None:
    code = "import sys, loopline; print([m for m in ('torch', 'mlflow', 'papermill') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
