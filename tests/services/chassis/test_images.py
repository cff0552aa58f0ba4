import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from services.chassis.images import BadImage, decode, encode_png, shrink, size


def encoded(mode: str = "RGB", size_: tuple[int, int] = (6, 4), format_: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size_, 200 if mode == "L" else "red").save(out, format_, **options)
    return out.getvalue()


def huge_png(side: int) -> bytes:
    """A PNG header that promises side x side pixels, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def animated() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("L", (4, 4), shade) for shade in (0, 255)]
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"not a picture", "neither"),
        (encoded(size_=(60, 40))[:-60], "truncated"),
        (encoded(size_=(600, 400), format_="JPEG")[:-300], "truncated"),
        (huge_png(10_000), "100 megapixels"),
        (huge_png(60_000), "limit of 50"),
        (animated(), "animated"),
        (encoded(format_="GIF"), "neither"),
        (encoded(format_="BMP"), "neither"),
    ],
)
def test_a_bad_image_is_refused_with_a_reason(data: bytes, word: str) -> None:
    with pytest.raises(BadImage, match=word):
        decode(data)
    with suppress(BadImage):
        size(data)


@pytest.mark.parametrize(
    ("mode", "format_"), [("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("1", "PNG")]
)
def test_every_kind_of_picture_becomes_rgb(mode: str, format_: str) -> None:
    data = encoded(mode, format_=format_)
    pixels = decode(data)
    assert (pixels.shape, pixels.dtype) == ((3, 4, 6), np.uint8)
    assert size(data) == (6, 4)


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    out = io.BytesIO()
    Image.fromarray(np.array([[0, 32_768, 65_535]], dtype=np.uint16)).save(out, "PNG")
    assert decode(out.getvalue())[0].tolist() == [[0, 128, 255]]


def test_a_picture_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(size_=(8, 4), format_="JPEG", exif=exif)
    assert decode(data).shape == (3, 8, 4)
    assert size(data) == (4, 8)


def test_shrink_leaves_small_pictures_alone_and_keeps_proportions() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 20), dtype=np.uint8)
    assert shrink(pixels, 40) is pixels
    assert shrink(pixels, 10).shape == (3, 10, 5)
    assert shrink(np.zeros((3, 1000, 2), np.uint8), 10).shape == (3, 10, 1)


def test_what_is_encoded_is_decoded_again() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    assert np.array_equal(decode(encode_png(pixels)), pixels)
    assert np.array_equal(decode(encode_png(pixels[0]))[2], pixels[0])
