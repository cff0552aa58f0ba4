import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from services.chassis.blobs import Blobs
from services.labeling_sync.adapters.blob_store import BlobPictures, ParquetManifests
from services.labeling_sync.datasets import LabelledImage, Row
from services.labeling_sync.likeness import near_duplicates
from services.labeling_sync.ports import BadPicture
from tests.manifests import Pixels, picture, two_corners


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


def row(uri: str, sha256: str, label: str = "good", hash_: str = "") -> Row:
    return Row(sha256, uri, label, "train", "random", "ada", 90, 60, perceptual_hash=hash_)


def image(uri: str, sha256: str) -> LabelledImage:
    return LabelledImage(sha256, uri, "random", 90, 60, (), None)


async def test_pictures_of_the_parent_must_only_be_there_and_new_ones_be_whole(blobs: Blobs) -> None:
    whole, text = blobs.put(encoded("PNG"), "png"), blobs.put(b"hello", "png")
    gone = f"blob://{'1' * 64}.png"
    images = [image(whole.uri, whole.sha256), image(text.uri, text.sha256), image(gone, "1" * 64)]
    pictures = BlobPictures(blobs)
    looked = await pictures.looked_at(images, {})
    assert set(looked.unreadable) == {text.sha256, "1" * 64}
    assert {len(hash_) for hash_ in looked.hashes.values()} == {64}
    known = await pictures.looked_at(images, dict.fromkeys([text.sha256, "1" * 64], "k" * 64))
    assert set(known.unreadable) == {"1" * 64}
    assert known.hashes == {whole.sha256: looked.hashes[whole.sha256], text.sha256: "k" * 64}


async def test_a_picture_saved_anew_has_nearly_the_hash_that_it_had(blobs: Blobs) -> None:
    def hash_of(pixels: Pixels, format: str, suffix: str) -> LabelledImage:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, format)
        stored = blobs.put(out.getvalue(), suffix)
        return image(stored.uri, stored.sha256)

    large = [np.kron(picture(label, 3), np.ones((4, 4), np.uint8)) for label in (0, 1)]
    images = [hash_of(large[0], "PNG", "png"), hash_of(large[0], "JPEG", "jpg"), hash_of(large[1], "PNG", "png")]
    looked = await BlobPictures(blobs).looked_at(images, {})
    pair = tuple(sorted(one.sha256 for one in images[:2]))
    assert list(near_duplicates(looked.hashes)) == [pair]


async def test_a_manifest_has_one_form_whatever_the_order(blobs: Blobs) -> None:
    rows = [row("blob://b", "b" * 64, "bad & ugly", "0" * 64), row("blob://a", "a" * 64, "good", "f" * 64)]
    manifests = ParquetManifests(blobs)
    kept = await manifests.write(rows, {"c" * 64: "test", "d" * 64: "train"})
    assert await manifests.write(rows[::-1], {"d" * 64: "train", "c" * 64: "test"}) == kept
    before = await manifests.read(kept.uri)
    assert before.labels == {"a" * 64: "good", "b" * 64: "bad & ugly"}
    assert before.hashes == {"a" * 64: "f" * 64, "b" * 64: "0" * 64}
    assert before.sides == {"a" * 64: "train", "b" * 64: "train", "c" * 64: "test", "d" * 64: "train"}
    table = pq.read_table(io.BytesIO(blobs.read(kept.uri)))
    assert table.column_names == [
        "sha256", "uri", "label", "split", "chosen", "annotator", "width", "height",
        "group", "slices", "perceptual_hash",
    ]  # fmt: skip
    assert table["sha256"].to_pylist() == ["a" * 64, "b" * 64]


async def test_a_manifest_from_before_groups_and_hashes_can_be_a_parent(blobs: Blobs) -> None:
    before = await ParquetManifests(blobs).read(two_corners(blobs, train=1, validation=1, test=1).uri)
    assert sorted(before.labels.values()) == ["lower"] * 3 + ["upper"] * 3
    assert sorted(before.sides.values()) == ["test", "test", "train", "train", "validation", "validation"]
    assert before.hashes == {}
