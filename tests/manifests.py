"""Small datasets for tests: pictures in a blob store, and the manifest of a dataset version that lists them."""

import io
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from contracts.events.base import BlobRef
from services.chassis.blobs import Blobs
from services.chassis.images import encode_png

Pixels = NDArray[np.uint8]


def picture(label: int, number: int, side: int = 48) -> Pixels:
    """uint8 [side, side]: noise, and a bright square, plain in the upper left (0) or striped in the lower right (1)."""
    chance = np.random.default_rng([label, number])
    pixels = chance.integers(0, 90, (side, side), dtype=np.uint8)
    size = side // 3
    start = side // 8 if label == 0 else side - side // 8 - size
    pixels[start : start + size, start : start + size] = 230
    if label == 1:
        pixels[start : start + size : 2, start : start + size] = 20
    return pixels


def manifest(blobs: Blobs, labelled: Iterable[tuple[Pixels, str, str]]) -> BlobRef:
    """Store pictures with their label and split, and the manifest that lists them."""
    rows = []
    for pixels, label, split in labelled:
        image = blobs.put(encode_png(pixels), "png")
        height, width = pixels.shape[-2:]
        rows.append(
            {
                "sha256": image.sha256,
                "uri": image.uri,
                "label": label,
                "split": split,
                "chosen": "random",
                "annotator": "test",
                "width": width,
                "height": height,
            }
        )
    return manifest_of(blobs, rows)


def manifest_of(blobs: Blobs, rows: list[dict[str, object]]) -> BlobRef:
    """Store rows as a manifest."""
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return blobs.put(out.getvalue(), "parquet")


def two_corners(blobs: Blobs, *, train: int = 12, validation: int = 4, test: int = 6, side: int = 48) -> BlobRef:
    """A manifest of the classes `upper` and `lower`, so many pictures of each in each split."""
    splits = ["train"] * train + ["validation"] * validation + ["test"] * test
    return manifest(
        blobs,
        [
            (picture(label, number, side), name, split)
            for label, name in enumerate(("upper", "lower"))
            for number, split in enumerate(splits)
        ],
    )
