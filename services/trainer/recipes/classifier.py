"""The model as it serves, as TorchScript: raw pixels in; probabilities, heat map and embedding out."""

import io

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.trainer.recipes.backbone import CHANNELS, EMBEDDING
from services.trainer.recipes.extractor import FEATURES, STATISTICS, extractor
from services.trainer.recipes.head import Head

_PX_PER_CELL = 16


def shares(size: int, cells: int, like: Tensor) -> Tensor:
    """How `size` steps in a row are shared out to `cells` cells by overlap: float [cells, size], columns sum to 1."""
    edges = torch.arange(cells + 1, dtype=like.dtype, device=like.device) * size / cells
    steps = torch.arange(size, dtype=like.dtype, device=like.device)
    low = torch.maximum(edges[:-1, None], steps[None, :])
    high = torch.minimum(edges[1:, None], steps[None, :] + 1)
    return (high - low).clamp_min(0.0)


class Classifier(nn.Module):
    """uint8 [N, 3, H, W] -> probabilities [N, C], heat map [N, g, g] in 0..1, embedding [N, 1280], all float32.

    The head is linear, so its answer is a sum over places of the picture: a mean counts each place alike, a maximum
    the place where it is, a deviation each place by its squared distance from the mean. The heat map is that sum laid
    out again: where the evidence for the answer is, measured against the average training image, without its negative
    part and with its peak at 1.
    """

    weight: Tensor
    bias: Tensor
    center: Tensor

    def __init__(self, extract: nn.Module, head: Head, image_px: int) -> None:
        super().__init__()
        self.extract = extract
        self.channels = list(CHANNELS)
        self.statistics = STATISTICS
        self.embedding = EMBEDDING
        self.cells = max(1, image_px // _PX_PER_CELL)
        self.register_buffer("weight", head.weight.to(torch.float32))
        self.register_buffer("bias", head.bias.to(torch.float32))
        self.register_buffer("center", head.center.to(torch.float32))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps, features = self.extract(images)
        probabilities = torch.softmax(F.linear(features - self.center, self.weight, self.bias), dim=1)
        heat = self.evidence(maps, features, probabilities.argmax(dim=1)).clamp_min(0.0)
        heat = heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        start = features.shape[1] - self.statistics * self.embedding
        return probabilities, heat, features[:, start : start + self.embedding]

    def evidence(self, maps: list[Tensor], features: Tensor, answer: Tensor) -> Tensor:
        """Evidence for class `answer` [N] over the mean of all classes, float [N, g, g].

        Its sum is `(weight[answer] - weight.mean(0)) @ (features - center)`: nothing is lost or made up.
        """
        contrast = self.weight[answer] - self.weight.mean(dim=0)
        cells = self.cells
        total = -(contrast * self.center).sum(dim=1)[:, None, None].expand(-1, cells, cells) / (cells * cells)
        start = 0
        for index, x in enumerate(maps):
            width = self.channels[index]
            of_mean = contrast[:, start : start + width]
            of_top = contrast[:, start + width : start + 2 * width]
            of_spread = contrast[:, start + 2 * width : start + 3 * width]
            top = features[:, start + width : start + 2 * width]
            start += self.statistics * width
            total = total + self.laid_out(x, of_mean, of_top, of_spread, top)
        return total

    def laid_out(self, x: Tensor, of_mean: Tensor, of_top: Tensor, of_spread: Tensor, top: Tensor) -> Tensor:
        """One map's share of the evidence, [N, g, g]; the weights of its statistics and its maxima are [N, C] each."""
        height, width = x.shape[2], x.shape[3]
        squares = (x - x.mean(dim=(2, 3), keepdim=True)).square()
        # As in `statistics`: the deviation is variance / sqrt(variance + least).
        of_square = of_spread * torch.rsqrt(squares.mean(dim=(2, 3)) + 1e-6)
        here = (of_mean[:, :, None, None] * x + of_square[:, :, None, None] * squares).sum(dim=1) / (height * width)
        where = x.flatten(2).argmax(dim=2)
        here = here.flatten(1).scatter_add(1, where, of_top * top).view(-1, height, width)
        rows, columns = shares(height, self.cells, here), shares(width, self.cells, here)
        return rows @ here @ columns.transpose(0, 1)


def classifier(head: Head, image_px: int) -> torch.jit.ScriptModule:
    """The head on the extractor that its features came from, as TorchScript.

    Raises:
        ValueError: the head is not made for these features.
    """
    if head.weight.shape[1] != FEATURES:
        raise ValueError(f"the head has {head.weight.shape[1]} weights a class, the features are {FEATURES}")
    return torch.jit.script(Classifier(extractor(image_px), head, image_px).eval())


def saved(model: torch.jit.ScriptModule) -> bytes:
    """The bytes that a node loads."""
    out = io.BytesIO()
    torch.jit.save(model, out)
    return out.getvalue()
