"""Answers kept by (model, image): a champion that was judged before is asked only about new images."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.chassis.blobs import BlobMissing
from services.chassis.errors import Rejected
from services.chassis.images import BadImage, decode, shrink

BATCH = 8
_DTYPE = np.dtype("<f4")
_THREADS = 4

Pixels = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class Image(Protocol):
    """An image in the blob store; sizes in pixels as stored."""

    @property
    def sha256(self) -> str: ...
    @property
    def uri(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


class Reading(Protocol):
    """The blob store, as far as it is needed here."""

    def read(self, uri: str) -> bytes: ...


class Keeping(Protocol):
    """A keyed cache."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, data: bytes) -> None: ...


Answer = Callable[[Pixels], Probabilities]


def answers(
    images: Sequence[Image],
    *,
    load: Callable[[], Answer],
    classes: int,
    max_side: int,
    blobs: Reading,
    cache: Keeping,
) -> Probabilities:
    """Probabilities float32 [n, classes] of one model, in the order of `images`.

    `load` gives the model as a function of uint8 [N, 3, H, W]; it is called only when an answer is missing.

    Raises:
        Rejected: an image is gone or unreadable.
    """
    found = np.empty((len(images), classes), _DTYPE)
    with ThreadPoolExecutor(_THREADS) as threads:
        missing = []
        for row, kept in enumerate(threads.map(lambda image: cache.get(image.sha256), images)):
            if kept is not None and len(kept) == classes * _DTYPE.itemsize:
                found[row] = np.frombuffer(kept, _DTYPE)
            else:
                missing.append(row)
        if missing:
            answer = load()
            for rows, batch in _batches(images, missing, blobs, max_side, threads):
                found[rows] = answer(batch)
            list(threads.map(lambda row: cache.put(images[row].sha256, found[row].tobytes()), missing))
    return found


def _batches(
    images: Sequence[Image], missing: list[int], blobs: Reading, max_side: int, threads: ThreadPoolExecutor
) -> Iterator[tuple[list[int], Pixels]]:
    """Rows and their pixels, a batch of one shape at a time; the next batch is decoded in the meantime."""
    # By size first, so that a batch is rarely cut short by a change of shape.
    ordered = sorted(missing, key=lambda row: (images[row].height, images[row].width, images[row].sha256))
    chunks = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]

    def decoded(chunk: list[int]) -> list[Pixels]:
        return [_pixels(images[row], blobs, max_side) for row in chunk]

    ahead = threads.submit(decoded, chunks[0])
    for number, chunk in enumerate(chunks, start=1):
        pixels = ahead.result()
        if number < len(chunks):
            ahead = threads.submit(decoded, chunks[number])
        for shape in sorted({one.shape for one in pixels}):
            alike = [place for place, one in enumerate(pixels) if one.shape == shape]
            yield [chunk[place] for place in alike], np.stack([pixels[place] for place in alike])


def _pixels(image: Image, blobs: Reading, max_side: int) -> Pixels:
    """As the predictor sends it."""
    try:
        return shrink(decode(blobs.read(image.uri)), max_side)
    except BadImage as error:
        raise Rejected(f"test image {image.sha256[:12]} is unreadable, take its label away: {error}") from error
    except BlobMissing as error:
        raise Rejected(
            f"test image {image.sha256[:12]} is gone, put it back or take its label away: {error}"
        ) from error
