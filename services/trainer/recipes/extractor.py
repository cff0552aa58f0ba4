"""Raw pixels -> maps and pooled statistics: the one module that training, export and serving share."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.trainer.recipes.backbone import Backbone, backbone, weights_sha256

STATISTICS = 3  # mean, max, standard deviation

# Part of the key of kept features: raise it with any change of what this module or a backbone computes.
REVISION = "2"


def statistics(x: Tensor, least: float = 1e-6) -> Tensor:
    """A map float32 [N, C, h, w] -> [N, 3C]: mean, max and standard deviation of each channel.

    The deviation is `variance / sqrt(variance + least)`, so that it is exactly a sum over locations, also where the
    variance is nothing: the heat map depends on that.
    """
    mean = x.mean(dim=(2, 3), keepdim=True)
    # In two passes: as exact as `var_mean`, and several times faster on a channels-last map.
    variance = (x - mean).square().mean(dim=(2, 3))
    return torch.cat((mean.flatten(1), x.amax(dim=(2, 3)), variance * torch.rsqrt(variance + least)), dim=1)


class Extractor(nn.Module):
    """uint8 [N, 3, H, W] of any size -> maps, fine to coarse, and their statistics float32 [N, `width`].

    `network` is a backbone, or one that was traced, `of` the backbone that it is.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, of: Backbone, image_px: int) -> None:
        super().__init__()
        self.network = network
        self.image_px = image_px
        self.channels = list(of.channels)
        self.width = STATISTICS * sum(of.channels)
        self.register_buffer("mean", _of_pixels(of.mean))
        self.register_buffer("std", _of_pixels(of.std))

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        return self.of_seen(self.seen(images))

    @torch.jit.export
    def of_seen(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The same of what `seen` made."""
        maps: list[Tensor] = self.network(x)
        return maps, torch.cat([statistics(one) for one in maps], dim=1)

    @torch.jit.export
    def seen(self, images: Tensor) -> Tensor:
        """What the backbone is given: float32 [N, 3, P, P], channels-last."""
        x = images.to(torch.float32)
        x = F.interpolate(x, size=[self.image_px, self.image_px], mode="bilinear", antialias=True)
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def _of_pixels(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)


@lru_cache(maxsize=2)
def extractor(image_px: int, name: str = "efficientnet-lite0") -> torch.jit.ScriptModule:
    """The extractor on a frozen backbone as TorchScript; made once a process for each size and name, since tracing
    takes a second.

    Raises:
        Rejected: there is no such backbone.
    """
    return scripted(eager(image_px, name).network, image_px)


@lru_cache(maxsize=2)
def eager(image_px: int, name: str = "efficientnet-lite0") -> Extractor:
    """The same as plain PyTorch, which its TorchScript is held against. Raises as `extractor`."""
    plain = backbone(name, image_px)
    return Extractor(plain, plain, image_px).eval()


def scripted(network: Backbone, image_px: int) -> torch.jit.ScriptModule:
    """The extractor on this network as TorchScript."""
    with torch.inference_mode():
        example = torch.zeros(2, 3, image_px, image_px).contiguous(memory_format=torch.channels_last)
        # A list as an answer is what `strict` warns of; its length never changes.
        traced = torch.jit.trace(network, example, check_trace=False, strict=False)
    return torch.jit.script(Extractor(traced, network, image_px).eval())


def flipped(images: Tensor, view: int) -> Tensor:
    """View 0 is the image, 1 is it flipped sideways, 2 upside down, 3 both; the last two dimensions are turned."""
    if view % 2 == 1:
        images = images.flip(-1)
    if view >= 2:
        images = images.flip(-2)
    return images


def extractor_key(image_px: int, name: str, views: int) -> str:
    """Names what the features depend on: weights, code revision, size, views. 16 hex digits."""
    parts = f"{weights_sha256(name, image_px)}|{REVISION}|{image_px}|{views}|bilinear-antialias|mean-max-std"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
