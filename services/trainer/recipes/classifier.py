"""The model as it serves, as TorchScript: raw pixels in; probabilities, heat map and embedding out."""

import io
from typing import Any

import torch
from torch import Tensor, nn

from services.trainer.recipes.extractor import STATISTICS, flipped
from services.trainer.recipes.heads import KernelHead, LinearHead

_PX_PER_CELL = 16


def shares(size: int, cells: int, like: Tensor) -> Tensor:
    """How `size` steps in a row are shared out to `cells` cells by overlap: float [cells, size], columns sum to 1."""
    edges = torch.arange(cells + 1, dtype=like.dtype, device=like.device) * size / cells
    steps = torch.arange(size, dtype=like.dtype, device=like.device)
    low = torch.maximum(edges[:-1, None], steps[None, :])
    high = torch.minimum(edges[1:, None], steps[None, :] + 1)
    return (high - low).clamp_min(0.0)


class Classifier(nn.Module):
    """uint8 [N, 3, H, W] -> probabilities [N, C], heat map [N, g, g] in 0..1, embedding [N, E], all float32.

    The head blames its answer on features, and each feature is a sum over places of the picture: a mean counts each
    place alike, a maximum the place where it is, a deviation each place by its squared distance from the mean. The heat
    map is that sum laid out again: where the evidence for the answer is, measured against the average training image,
    without its negative part and with its peak at 1. Features are averaged over the views, and so is the evidence.
    """

    def __init__(self, extract: Any, head: KernelHead | LinearHead, views: int = 1) -> None:
        super().__init__()
        self.extract = extract
        self.head = head
        self.channels = [int(width) for width in extract.channels]
        self.statistics = STATISTICS
        self.embedding = self.channels[-1]
        self.cells = max(1, int(extract.image_px) // _PX_PER_CELL)
        self.views = views

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps: list[list[Tensor]] = []
        seen: list[Tensor] = []
        for view in range(self.views):
            of_view, features = self.extract(flipped(images, view))
            maps.append(of_view)
            seen.append(features)
        features = torch.stack(seen).mean(dim=0)
        probabilities = torch.softmax(self.head(features), dim=1)
        blame = self.head.blame(features, probabilities.argmax(dim=1))
        heat = torch.zeros(images.shape[0], self.cells, self.cells, device=images.device)
        for view in range(self.views):
            heat = heat + flipped(self.evidence(maps[view], seen[view], blame), view)
        heat = heat.clamp_min(0.0)
        heat = heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        start = features.shape[1] - self.statistics * self.embedding
        return probabilities, heat, features[:, start : start + self.embedding]

    def evidence(self, maps: list[Tensor], features: Tensor, blame: Tensor) -> Tensor:
        """`blame` [N, D] laid out over the picture, float [N, g, g].

        Its sum is `blame @ (features - center)`: nothing is lost or made up.
        """
        cells = self.cells
        total = -(blame * self.head.center).sum(dim=1)[:, None, None].expand(-1, cells, cells) / (cells * cells)
        start = 0
        for index, x in enumerate(maps):
            width = self.channels[index]
            of_mean = blame[:, start : start + width]
            of_top = blame[:, start + width : start + 2 * width]
            of_spread = blame[:, start + 2 * width : start + 3 * width]
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


def classifier(
    extract: torch.jit.ScriptModule, head: KernelHead | LinearHead, views: int = 1
) -> torch.jit.ScriptModule:
    """The head on the extractor that its features came from, as TorchScript.

    Raises:
        ValueError: the head is not made for these features.
    """
    if head.width != extract.width:
        raise ValueError(f"the head takes {head.width} features, and there are {extract.width}")
    return torch.jit.script(Classifier(extract, head, views).eval())


def saved(model: torch.jit.ScriptModule) -> bytes:
    """The bytes that a node loads."""
    out = io.BytesIO()
    torch.jit.save(model, out)
    return out.getvalue()
