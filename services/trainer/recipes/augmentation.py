"""Chance changes of images while training: flips, small shifts, brightness and contrast."""

import torch
import torch.nn.functional as F
from torch import Tensor

from services.trainer.recipes.extractor import flipped
from services.trainer.recipes.parameters import FineTune

_VIEWS = {"none": 1, "sideways": 2, "both": 4}


def augmented(x: Tensor, parameters: FineTune, chance: torch.Generator) -> Tensor:
    """float32 [N, 3, P, P], standardised -> the same shape, each image changed on its own; `chance` is on the CPU."""
    return torch.stack([_one(image, parameters, chance) for image in x]).contiguous(memory_format=torch.channels_last)


def _one(image: Tensor, parameters: FineTune, chance: torch.Generator) -> Tensor:
    side = image.shape[-1]
    most = round(parameters.shift * side)
    view = int(torch.randint(_VIEWS[parameters.flips], (1,), generator=chance))
    down, right = (int(start) for start in torch.randint(2 * most + 1, (2,), generator=chance))
    gain, offset = (parameters.brightness * (2 * torch.rand(2, generator=chance) - 1)).tolist()
    image = flipped(image, view)
    if most:
        image = F.pad(image[None], [most] * 4, mode="replicate")[0, :, down : down + side, right : right + side]
    return image * (1 + gain) + offset
