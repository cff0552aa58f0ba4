"""Golden images: what PyTorch answered when the model was made, against what a node answers now."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-3


class NotGolden(ValueError):
    """The file does not hold golden images and their answers; the text says why."""


@dataclass(frozen=True)
class Golden:
    """`images` uint8 [3, H, W] of any sizes, and `probabilities` float32 [images, classes]."""

    images: tuple[NDArray[np.uint8], ...]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Comparison:
    """`largest_difference` of any probability; `problem` is a sentence where answers differ too much, else empty."""

    images: int
    largest_difference: float
    problem: str


def read(data: bytes) -> Golden:
    """Golden images from an npz with `image_0` … `image_<G-1>` and `probabilities` [G, C].

    Raises:
        NotGolden: not such a file, or without any image.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            probabilities = np.asarray(file["probabilities"], dtype=np.float32)
            images = tuple(np.ascontiguousarray(file[f"image_{index}"]) for index in range(len(probabilities)))
    except (KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise NotGolden(f"the golden images cannot be read: {error}") from error
    if not images or probabilities.ndim != 2:
        raise NotGolden("there is no golden image to check the model on")
    for index, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != 3:
            raise NotGolden(f"golden image {index} is {image.dtype} {image.shape}, not uint8 [3, H, W]")
    return Golden(images, probabilities)


def compare(golden: Golden, answered: NDArray[np.float32], classes: Sequence[str]) -> Comparison:
    """Answers [G, C] against the golden ones: the same class and no probability more than `TOLERANCE` away."""
    wanted = golden.probabilities
    count = len(golden.images)
    if answered.shape != wanted.shape or wanted.shape[1] != len(classes):
        problem = f"{len(classes)} classes, golden answers of shape {wanted.shape}, and the node's of {answered.shape}"
        return Comparison(count, 1.0, problem)
    # A NaN is as far away as can be: every comparison with it would be false, so it would pass.
    differences = np.nan_to_num(np.abs(answered.astype(np.float64) - wanted), nan=1.0, posinf=1.0)
    largest = float(differences.max())
    for index in range(count):
        should, does = int(wanted[index].argmax()), int(answered[index].argmax())
        worst = int(differences[index].argmax())
        if should != does or differences[index, worst] > TOLERANCE:
            seen = f"{classes[does]} instead of {classes[should]}" if does != should else f"{classes[does]}, but"
            problem = (
                f"golden image {index + 1} of {count}: {seen} with {answered[index, worst]:.4f} for {classes[worst]} "
                f"where PyTorch has {wanted[index, worst]:.4f}: "
                f"{differences[index, worst]:.4f} apart, {TOLERANCE} is allowed"
            )
            return Comparison(count, largest, problem)
    return Comparison(count, largest, "")
