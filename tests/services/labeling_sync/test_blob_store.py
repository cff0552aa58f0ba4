import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from services.chassis.blobs import Blobs
from services.labeling_sync.adapters.blob_store import BlobPictures, ParquetManifests
from services.labeling_sync.datasets import Row
from services.labeling_sync.ports import BadPicture


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"))


def encoded(format: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format)
    return out.getvalue()


@pytest.mark.parametrize(("format", "suffix"), [("PNG", "png"), ("JPEG", "jpg")])
async def test_a_whole_picture_has_its_size_and_one_that_is_cut_off_is_refused(
    blobs: Blobs, format: str, suffix: str
) -> None:
    pictures = BlobPictures(blobs)
    whole = blobs.put(encoded(format), suffix)
    assert await pictures.check(whole.uri, whole.sha256) == (90, 60)
    for cut in (len(encoded(format)) // 2, -9):
        part = blobs.put(encoded(format)[:cut], suffix)
        with pytest.raises(BadPicture, match="truncated or damaged"):
            await pictures.check(part.uri, part.sha256)


async def test_what_is_no_picture_or_not_there_is_refused(blobs: Blobs) -> None:
    pictures = BlobPictures(blobs)
    text = blobs.put(b"hello", "png")
    with pytest.raises(BadPicture, match="neither a PNG nor a JPEG"):
        await pictures.check(text.uri, text.sha256)
    with pytest.raises(BadPicture, match="not in the blob store"):
        await pictures.check(f"blob://{'1' * 64}.png", "1" * 64)
    with pytest.raises(BadPicture, match="must name the same bytes"):
        await pictures.check(text.uri, "2" * 64)


def row(uri: str, sha256: str, label: str = "good") -> Row:
    return Row(sha256, uri, label, "train", "random", "ada", 90, 60)


async def test_pictures_of_the_parent_must_only_be_there_and_new_ones_be_whole(blobs: Blobs) -> None:
    whole, text = blobs.put(encoded("PNG"), "png"), blobs.put(b"hello", "png")
    gone = f"blob://{'1' * 64}.png"
    rows = [row(whole.uri, whole.sha256), row(text.uri, text.sha256), row(gone, "1" * 64)]
    pictures = BlobPictures(blobs)
    assert set(await pictures.unreadable(rows, {})) == {text.sha256, "1" * 64}
    assert set(await pictures.unreadable(rows, dict.fromkeys([text.sha256, "1" * 64]))) == {"1" * 64}


async def test_a_manifest_has_one_form_whatever_the_order(blobs: Blobs) -> None:
    rows = [row("blob://b", "b" * 64, "bad & ugly"), row("blob://a", "a" * 64)]
    manifests = ParquetManifests(blobs)
    kept = await manifests.write(rows)
    assert await manifests.write(rows[::-1]) == kept
    assert await manifests.labels(kept.uri) == {"a" * 64: "good", "b" * 64: "bad & ugly"}
    table = pq.read_table(io.BytesIO(blobs.read(kept.uri)))
    assert table.column_names == ["sha256", "uri", "label", "split", "chosen", "annotator", "width", "height"]
    assert table["sha256"].to_pylist() == ["a" * 64, "b" * 64]
