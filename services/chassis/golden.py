"""The golden file of a model: a few pictures, and what it answered to them where it was made."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def golden_file(images: Sequence[NDArray[np.uint8]], probabilities: NDArray[np.float32]) -> bytes:
    """An npz of `image_<i>` uint8 [3, H, W] and `probabilities` float32 [images, classes]."""
    out = io.BytesIO()
    arrays: dict[str, Any] = {f"image_{place}": image for place, image in enumerate(images)}
    np.savez(out, **arrays, probabilities=probabilities)
    return out.getvalue()
