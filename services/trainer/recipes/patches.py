"""What good parts look like, patch by patch, as TorchScript (PatchCore: Roth et al., CVPR 2022)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PX_PER_PATCH = 16
# The strangest few patches speak for an image: one alone may be a speck of dust.
_STRANGEST = 3
_PROJECTED = 64


class Patches(nn.Module):
    """uint8 [N, 3, H, W] -> float32 [N, g * g, D]: a description of each patch with its neighbours, row by row.

    From the maps in the middle of the backbone: the finest say too little of what is seen, the coarsest where it is.
    """

    def __init__(self, extract: Any) -> None:
        super().__init__()
        self.extract = extract
        px = int(extract.image_px)
        self.cells = max(1, px // _PX_PER_PATCH)
        with torch.inference_mode():
            maps, _ = extract(torch.zeros(1, 3, px, px, dtype=torch.uint8))
        sides = [int(x.shape[2]) for x in maps]
        fine = [place for place, side in enumerate(sides) if side >= self.cells and side < sides[0]]
        self.used: list[int] = fine or [0]
        self.width = sum(int(maps[place].shape[1]) for place in self.used)
        self.embedding = int(extract.channels[-1])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The second is the embedding, [N, E]."""
        maps, features = self.extract(images)
        found: list[Tensor] = []
        for place in self.used:
            around = F.avg_pool2d(maps[place], kernel_size=3, stride=1, padding=1, count_include_pad=False)
            found.append(F.adaptive_avg_pool2d(around, self.cells))
        start = features.shape[1] - 3 * self.embedding
        return torch.cat(found, dim=1).flatten(2).transpose(1, 2), features[:, start : start + self.embedding]


class Strangeness(nn.Module):
    """uint8 [N, 3, H, W] -> probabilities [N, 2] of good and bad, heat map [N, g, g] in 0..1, embedding [N, E].

    `bank` [M, D] are patches of good parts in units of `scale` [D]. Strange is how far the nearest of them is, as its
    logarithm in standard deviations of good parts: `usual` is the mean of those, `spread` one of them. An image is as
    likely bad as good at `limit`, and `slope` says how sure it is beyond. The heat map is as hot as that probability at
    the strangest patch, and cold at patches that are no stranger than the median of their image.
    """

    bank: Tensor
    scale: Tensor
    lengths: Tensor

    def __init__(self, patches: Patches, bank: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.patches = patches
        self.cells = patches.cells
        self.strangest = min(_STRANGEST, patches.cells**2)
        self.usual, self.spread, self.limit, self.slope = 0.0, 1.0, 0.0, 1.0
        self.register_buffer("bank", bank.to(torch.float32))
        self.register_buffer("scale", scale.to(torch.float32))
        self.register_buffer("lengths", self.bank.square().sum(dim=1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        described, embedding = self.patches(images)
        distances = self.distances(described)
        strange = (self.of_image(distances.log()) - self.usual) / self.spread
        bad = torch.sigmoid(self.slope * (strange - self.limit))
        above = (distances - distances.median(dim=1, keepdim=True).values).clamp_min(0.0)
        heat = bad[:, None] * above / above.amax(dim=1, keepdim=True).clamp_min(1e-6)
        return torch.stack((1 - bad, bad), dim=1), heat.view(-1, self.cells, self.cells), embedding

    def distances(self, described: Tensor) -> Tensor:
        """[N, g * g, D] -> distance of each patch to the nearest remembered one, [N, g * g], above 0."""
        x = (described * self.scale).flatten(0, 1)
        nearest = (self.lengths - 2 * x @ self.bank.T).amin(dim=1) + x.square().sum(dim=1)
        return nearest.clamp_min(1e-6).sqrt().view(described.shape[0], -1)

    def of_image(self, strange: Tensor) -> Tensor:
        """[N, g * g] -> [N]."""
        return strange.topk(self.strangest, dim=1).values.mean(dim=1)


def coreset(patches: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Indices of `size` rows of [n, D] that no row is far from: the farthest from all chosen so far, in turns.

    Distances are taken after a random projection (Johnson and Lindenstrauss), as PatchCore does.
    """
    n, width = patches.shape
    if size >= n:
        return torch.arange(n)
    seen = patches
    if width > _PROJECTED:
        seen = patches @ (torch.randn(width, _PROJECTED, generator=chance) / math.sqrt(_PROJECTED))
    chosen = [int(torch.randint(n, (1,), generator=chance))]
    far = (seen - seen[chosen[0]]).square().sum(dim=1)
    for _ in range(size - 1):
        chosen.append(int(far.argmax()))
        far = torch.minimum(far, (seen - seen[chosen[-1]]).square().sum(dim=1))
    return torch.tensor(chosen)
