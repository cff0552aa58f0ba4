"""Raw pixels -> maps and pooled statistics: the one module that training, export and serving share."""

import hashlib
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.trainer.recipes.backbone import CHANNELS, REVISION, Backbone, weights_sha256

STATISTICS = 3  # mean, max, standard deviation
FEATURES = STATISTICS * sum(CHANNELS)


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
    """uint8 [N, 3, H, W] of any size -> six maps, fine to coarse, and float32 [N, FEATURES]."""

    def __init__(self, backbone: nn.Module, image_px: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.image_px = image_px

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        x = images.to(torch.float32)
        x = F.interpolate(x, size=[self.image_px, self.image_px], mode="bilinear", antialias=True)
        x = ((x - 127.0) / 128.0).contiguous(memory_format=torch.channels_last)
        fine, b, c, d, e, coarse = self.backbone(x)
        maps = [fine, b, c, d, e, coarse]
        return maps, torch.cat([statistics(one) for one in maps], dim=1)


@lru_cache(maxsize=2)
def extractor(image_px: int) -> torch.jit.ScriptModule:
    """The extractor as TorchScript; made once a process for each `image_px`, since tracing takes a second."""
    with torch.inference_mode():
        example = torch.zeros(2, 3, image_px, image_px).contiguous(memory_format=torch.channels_last)
        backbone = torch.jit.trace(Backbone(image_px), example, check_trace=False)
    return torch.jit.script(Extractor(backbone, image_px).eval())


def extractor_key(image_px: int) -> str:
    """Names what the features depend on: weights, code revision, size. 16 hex digits."""
    parts = f"{weights_sha256()}|{REVISION}|{image_px}|bilinear-antialias|mean-max-std"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
