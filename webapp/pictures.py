"""Thumbnails for the tiles: the picture, and over it where the model saw its evidence. Kept in memory, bounded."""

import io
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.chassis.blobs import Blobs
from services.chassis.images import decode, shrink

log = logging.getLogger(__name__)

MAX_SIDE = 360
_SMALL = 180
_KEPT = 600
_TRY_AGAIN_S = 10.0
_COOL, _HOT = np.array([255.0, 196.0, 0.0]), np.array([235.0, 30.0, 0.0])
_STRONGEST = 0.65


@dataclass(frozen=True)
class Thumbnail:
    """`jpeg` is None where there is no picture to show; `missing` says what is not there, `why` the reason."""

    jpeg: bytes | None
    missing: Literal["", "No picture", "No heat map"] = ""
    why: str = ""


class Pictures:
    """Makes thumbnails from blobs, one at a time so that large pictures do not add up in memory."""

    def __init__(self, blobs: Blobs, kept: int = _KEPT, clock: Callable[[], float] = time.monotonic) -> None:
        self._blobs = blobs
        self._kept = kept
        self._clock = clock
        self._made: OrderedDict[tuple[str, str | None], tuple[Thumbnail, float]] = OrderedDict()
        self._lock = threading.Lock()

    def thumbnail(self, image_uri: str, heat_map_uri: str | None = None) -> Thumbnail:
        """The picture as JPEG, under its heat map where one is given. Never raises: a blob may be gone or damaged."""
        key = (image_uri, heat_map_uri)
        with self._lock:
            known = self._made.get(key)
            if known and (not known[0].missing or self._clock() - known[1] < _TRY_AGAIN_S):
                self._made.move_to_end(key)
                return known[0]
            made = self._make(image_uri, heat_map_uri)
            if made.missing and not known:
                log.warning("%s: %s", made.missing, made.why)
            self._made[key] = (made, self._clock())
            while len(self._made) > self._kept:
                self._made.popitem(last=False)
            return made

    def _make(self, image_uri: str, heat_map_uri: str | None) -> Thumbnail:
        # Each object store raises errors of its own, and one tile is not the page: so whatever it is becomes words.
        try:
            picture = enlarged(shrink(decode(self._blobs.read(image_uri)), MAX_SIDE))
        except Exception as error:
            return Thumbnail(None, "No picture", str(error))
        if heat_map_uri is None:
            return Thumbnail(_jpeg(picture))
        try:
            return Thumbnail(_jpeg(overlaid(picture, decode(self._blobs.read(heat_map_uri))[0])))
        except Exception as error:
            return Thumbnail(_jpeg(picture), "No heat map", str(error))


def enlarged(picture: NDArray[np.uint8], at_least: int = _SMALL) -> NDArray[np.uint8]:
    """uint8 [3, H, W] with its pixels repeated until the longer side has `at_least`: a browser would smear them."""
    times = -(-at_least // max(picture.shape[1:]))
    return picture if times <= 1 else picture.repeat(times, axis=1).repeat(times, axis=2)


def overlaid(picture: NDArray[np.uint8], heat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture uint8 [3, H, W] under a coarse heat map uint8 [h, w]: from clear over amber to red."""
    _, height, width = picture.shape
    fine = Image.fromarray(np.ascontiguousarray(heat)).resize((width, height), Image.Resampling.BILINEAR)
    strength = np.asarray(fine, dtype=np.float64)[None] / 255
    colour = _COOL[:, None, None] + (_HOT - _COOL)[:, None, None] * strength
    opacity = strength * _STRONGEST
    return (picture * (1 - opacity) + colour * opacity + 0.5).astype(np.uint8)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(out, "JPEG", quality=88)
    return out.getvalue()
