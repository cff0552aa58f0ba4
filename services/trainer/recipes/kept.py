"""Features kept by image: computed once for each image, extractor and size, whatever its label becomes."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.chassis.errors import Rejected
from services.chassis.images import BadImage, decode, shrink
from services.trainer.dataset import Example
from services.trainer.recipes.recipe import Reading

BATCH = 8
_DTYPE = np.dtype("<f4")
_THREADS = 4

Pixels = NDArray[np.uint8]


class Keeping(Protocol):
    """A keyed cache."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, data: bytes) -> None: ...


def cores() -> int:
    """How many this process may use: its share, where torchrun started several on this machine."""
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def pixels(example: Example, blobs: Reading, max_side: int) -> Pixels:
    """uint8 [3, H, W] as the predictor would send it.

    Raises:
        Rejected: the image is gone or unreadable; the text names it.
    """
    try:
        return shrink(decode(blobs.read(example.uri)), max_side)
    except BadImage as error:
        raise Rejected(f"image {example.sha256[:12]} is unreadable, take its label away: {error}") from error


class KeptFeatures:
    """Features of examples: from the cache where it has them, else from `extract`, and then into the cache.

    `extract` takes uint8 [N, 3, H, W] and answers float32 [N, width].
    """

    def __init__(
        self, blobs: Reading, cache: Keeping, extract: Callable[[Tensor], Tensor], *, width: int, max_side: int
    ) -> None:
        self._blobs = blobs
        self._cache = cache
        self._extract = extract
        self._width = width
        self._max_side = max_side

    def of(self, examples: Sequence[Example], report: Callable[[int, int], None] = lambda done, total: None) -> Tensor:
        """float32 [n, width], in the order of `examples`; `report(computed, to_compute)` after each batch.

        Raises:
            Rejected: an image is gone or unreadable.
        """
        features = np.empty((len(examples), self._width), _DTYPE)
        with ThreadPoolExecutor(_THREADS) as threads:
            missing = []
            for row, kept in enumerate(threads.map(lambda example: self._cache.get(example.sha256), examples)):
                if kept is not None and len(kept) == self._width * _DTYPE.itemsize:
                    features[row] = np.frombuffer(kept, _DTYPE)
                else:
                    missing.append(row)
            done = 0
            puts = []
            for rows, answers in self._computed(examples, missing, threads):
                features[rows] = answers
                puts += [threads.submit(self._cache.put, examples[row].sha256, features[row].tobytes()) for row in rows]
                done += len(rows)
                report(done, len(missing))
            for put in puts:
                put.result()
        return torch.from_numpy(features)

    def _computed(
        self, examples: Sequence[Example], missing: list[int], threads: ThreadPoolExecutor
    ) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Rows and their features, a batch of one shape at a time; the next batch is decoded in the meantime."""
        # By size first, so that a batch is rarely cut short by a change of shape.
        ordered = sorted(missing, key=lambda row: (examples[row].height, examples[row].width, examples[row].sha256))
        chunks = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]

        def decoded(chunk: list[int]) -> list[Pixels]:
            return [pixels(examples[row], self._blobs, self._max_side) for row in chunk]

        ahead = threads.submit(decoded, chunks[0]) if chunks else None
        for number, chunk in enumerate(chunks, start=1):
            assert ahead
            images = ahead.result()
            ahead = threads.submit(decoded, chunks[number]) if number < len(chunks) else None
            for shape in sorted({image.shape for image in images}):
                alike = [place for place, image in enumerate(images) if image.shape == shape]
                batch = torch.from_numpy(np.stack([images[place] for place in alike]))
                yield [chunk[place] for place in alike], self._extract(batch).numpy()
