"""Sketches: embeddings small enough for the bus. The predictor writes them, whoever watches reads them.

A random projection to a few numbers keeps distances (Johnson and Lindenstrauss 1984), with signs as good as with normal
numbers (Achlioptas 2003, "Database-friendly random projections"). That holds for pictures nobody has seen yet, which a
projection fitted to some pictures does not promise.
"""

import base64
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

NUMBERS = 32
_DTYPE = np.dtype("<f2")
_LARGEST = float(np.finfo(_DTYPE).max)


def sketch(embedding: NDArray[np.float32]) -> str | None:
    """An embedding [D] as base64 of 32 float16, little-endian; None where it is not finite."""
    projected = embedding.astype(np.float32, copy=False) @ _projection(len(embedding))
    if not np.isfinite(projected).all():
        return None
    return base64.b64encode(np.clip(projected, -_LARGEST, _LARGEST).astype(_DTYPE).tobytes()).decode()


def unsketched(text: str) -> NDArray[np.float32]:
    """The numbers of a sketch, float32 [32].

    Raises:
        ValueError: it is none.
    """
    numbers = np.frombuffer(base64.b64decode(text, validate=True), _DTYPE)
    if numbers.shape != (NUMBERS,) or not np.isfinite(numbers).all():
        raise ValueError(f"a sketch has {NUMBERS} finite numbers")
    return numbers.astype(np.float32)


@lru_cache(maxsize=4)
def _projection(size: int) -> NDArray[np.float32]:
    """Signs over sqrt(32), float32 [D, 32]: the same for one D in every process and for all time.

    From `RandomState`, whose numbers are frozen (NEP 19); those of `default_rng` may change with a release of numpy.
    """
    signs = np.random.RandomState(size).randint(0, 2, (size, NUMBERS)) * 2 - 1
    projection: NDArray[np.float32] = (signs / np.sqrt(NUMBERS)).astype(np.float32)
    return projection
