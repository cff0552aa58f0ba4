"""Decoding and shrinking, once for training and serving, so that the two cannot drift apart."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from contracts.events.prediction import MAX_PIXELS

_FORMATS = ("PNG", "JPEG")


class BadImage(ValueError):
    """The bytes are no image that a model can look at; the text says why."""


def _open(data: bytes) -> Image.Image:
    if not data:
        raise BadImage("the image is empty: it has no bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise BadImage("this is neither a PNG nor a JPEG image") from None
    except Image.DecompressionBombError:
        raise BadImage(f"the image is larger than the limit of {MAX_PIXELS // 1_000_000} megapixels") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage(f"the image cannot be read: {error}") from None
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(
            f"the image has {image.width * image.height / 1e6:.0f} megapixels, "
            f"more than the limit of {MAX_PIXELS // 1_000_000}"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise BadImage("the image is animated: send one picture")
    return image


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, upright, without decoding the pixels.

    Raises:
        BadImage: as `decode`, except for damage among the pixels that the headers do not show.
    """
    image = _open(data)
    try:
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except (OSError, SyntaxError, ValueError) as error:
        # A PNG may carry its EXIF data behind the pixels, which are then read.
        raise BadImage(f"the image is truncated or damaged: {error}") from None
    return (image.height, image.width) if turned else (image.width, image.height)


def decode(data: bytes) -> NDArray[np.uint8]:
    """A PNG or JPEG as uint8 [3, H, W], RGB, turned upright by its EXIF tag; 16-bit grey is scaled to 8 bits.

    Raises:
        BadImage: empty, truncated, animated, of another format, or over `MAX_PIXELS`.
    """
    image = _open(data)
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage(f"the image is truncated or damaged: {error}") from None
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image, dtype=np.float64) / 257 + 0.5, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(grey, (3, *grey.shape)))
    pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def shrink(image: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """uint8 [3, H, W] with no side over `max_side` pixels: unchanged, or by Pillow's BOX-then-LANCZOS filter."""
    _, height, width = image.shape
    longest = max(height, width)
    if longest <= max_side:
        return image
    to = (max(1, round(width * max_side / longest)), max(1, round(height * max_side / longest)))
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    small = picture.resize(to, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.ascontiguousarray(np.asarray(small, dtype=np.uint8).transpose(2, 0, 1))


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W] grey or [3, H, W] RGB as PNG bytes."""
    out = io.BytesIO()
    Image.fromarray(pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(out, "PNG")
    return out.getvalue()
