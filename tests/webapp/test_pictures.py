import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.chassis.blobs import Blobs
from services.chassis.images import encode_png
from webapp.pictures import Pictures, enlarged, overlaid

GREY = np.full((40, 60), 128, np.uint8)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path))


def pixels(jpeg: bytes | None) -> np.ndarray:
    assert jpeg is not None
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), dtype=int)


def test_small_pictures_are_enlarged_without_smearing_and_large_ones_shrunk(blobs: Blobs) -> None:
    small = blobs.put(encode_png(np.zeros((8, 8), np.uint8)), "png")
    large = blobs.put(encode_png(np.zeros((900, 300), np.uint8)), "png")
    assert pixels(Pictures(blobs).thumbnail(small.uri).jpeg).shape == (184, 184, 3)
    assert pixels(Pictures(blobs).thumbnail(large.uri).jpeg).shape == (360, 120, 3)
    step = np.array([[0, 255]], np.uint8)[None].repeat(3, axis=0)
    assert set(np.unique(enlarged(step))) == {0, 255}


def test_heat_warms_the_picture_where_it_is_bright_and_leaves_the_rest() -> None:
    heat = np.zeros((4, 6), np.uint8)
    heat[0, 0] = 255
    warm = overlaid(np.stack([GREY] * 3), heat).astype(int)
    red, green, blue = warm[:, 0, 0]
    assert red > 180 > green > blue
    assert (warm[:, -1, -1] == 128).all()


def test_a_missing_or_damaged_picture_becomes_words(blobs: Blobs) -> None:
    gone = Pictures(blobs).thumbnail("blob://" + "0" * 64 + ".png")
    no_picture = Pictures(blobs).thumbnail(blobs.put(b"no picture", "png").uri)
    assert (gone.jpeg, gone.missing) == (None, "No picture")
    assert "not in the blob store" in gone.why
    assert (no_picture.jpeg, no_picture.missing) == (None, "No picture")


def test_a_missing_heat_map_leaves_the_picture(blobs: Blobs) -> None:
    made = Pictures(blobs).thumbnail(blobs.put(encode_png(GREY), "png").uri, "blob://" + "0" * 64 + ".png")
    assert (made.jpeg is not None, made.missing) == (True, "No heat map")


def test_a_picture_that_comes_late_is_found_after_a_while(blobs: Blobs, tmp_path: Path) -> None:
    elsewhere = Blobs(str(tmp_path / "elsewhere"))
    uri, time = elsewhere.put(encode_png(GREY), "png").uri, [0.0]
    pictures = Pictures(blobs, clock=lambda: time[0])
    assert pictures.thumbnail(uri).jpeg is None
    blobs.put(elsewhere.read(uri), "png")
    assert pictures.thumbnail(uri).jpeg is None
    time[0] = 11.0
    assert pictures.thumbnail(uri).jpeg is not None


def test_only_so_many_thumbnails_are_kept(blobs: Blobs) -> None:
    pictures = Pictures(blobs, kept=3)
    for grey in range(10):
        pictures.thumbnail(blobs.put(encode_png(np.full((8, 8), grey, np.uint8)), "png").uri)
    assert len(pictures._made) == 3
