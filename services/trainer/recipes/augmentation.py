"""Chance changes of images while training: flips, small shifts, brightness and contrast."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from services.trainer.recipes.extractor import flipped
from services.trainer.recipes.parameters import FineTune

_VIEWS = {"none": 1, "sideways": 2, "both": 4}


class Change(NamedTuple):
    """What is done to one image: the view, a shift by up to `most` pixels, and its contrast and brightness."""

    view: int
    most: int
    down: int
    right: int
    gain: float
    offset: float


def drawn(images: int, side: int, parameters: FineTune, chance: torch.Generator) -> list[Change]:
    """A change for each of so many images of this side, pixels; `chance` is on the CPU."""
    most = round(parameters.shift * side)
    found = []
    for _ in range(images):
        view = int(torch.randint(_VIEWS[parameters.flips], (1,), generator=chance))
        down, right = (int(start) for start in torch.randint(2 * most + 1, (2,), generator=chance))
        gain, offset = (parameters.brightness * (2 * torch.rand(2, generator=chance) - 1)).tolist()
        found.append(Change(view, most, down, right, gain, offset))
    return found


def augmented(x: Tensor, changes: Sequence[Change]) -> Tensor:
    """float32 [N, 3, P, P], standardised -> the same shape, each image with its change."""
    changed = [_one(image, change) for image, change in zip(x, changes, strict=True)]
    return torch.stack(changed).contiguous(memory_format=torch.channels_last)


def _one(image: Tensor, change: Change) -> Tensor:
    side = image.shape[-1]
    image = flipped(image, change.view)
    if change.most:
        rows, columns = slice(change.down, change.down + side), slice(change.right, change.right + side)
        image = F.pad(image[None], [change.most] * 4, mode="replicate")[0, :, rows, columns]
    return image * (1 + change.gain) + change.offset
