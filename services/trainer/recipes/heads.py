"""Heads as they serve. Each says what it thinks of features, and how much of it each feature is to blame for."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.trainer.recipes.head import GAMMA, Head

# Points on the way from the average training image to an image, at which the slope is taken.
_POINTS = 8


class LinearHead(nn.Module):
    """logits = weight @ (features - center) + bias."""

    weight: Tensor
    bias: Tensor
    center: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, center: Tensor) -> None:
        super().__init__()
        self.width = weight.shape[1]
        self.register_buffer("weight", weight.detach().to(torch.float32))
        self.register_buffer("bias", bias.detach().to(torch.float32))
        self.register_buffer("center", center.detach().to(torch.float32))

    def forward(self, features: Tensor) -> Tensor:
        """float32 [N, D] -> logits [N, C]."""
        return F.linear(features - self.center, self.weight, self.bias)

    @torch.jit.export
    def blame(self, features: Tensor, answer: Tensor) -> Tensor:
        """[N, D]: times `features - center` it sums up to how far the logit of `answer` [N] stands above the mean of
        all classes, compared with the average training image."""
        return self.weight[answer] - self.weight.mean(dim=0)

    def scaled(self, temperature: float) -> "LinearHead":
        """With its logits divided by a temperature."""
        return LinearHead(self.weight / temperature, self.bias / temperature, self.center)


class KernelHead(nn.Module):
    """A fitted `Head` in float32."""

    support: Tensor
    weight: Tensor
    bias: Tensor
    center: Tensor
    scale: Tensor
    lengths: Tensor

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.width = len(head.center)
        self.gamma = GAMMA
        self.points = _POINTS
        for name in ("support", "weight", "bias", "center", "scale"):
            self.register_buffer(name, cast(Tensor, getattr(head, name)).to(torch.float32))
        self.register_buffer("lengths", self.support.square().sum(dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """float32 [N, D] -> logits [N, C]."""
        u = (features - self.center) * self.scale
        return self.alike(u, u @ self.support.T, 1.0) @ self.weight + self.bias

    def alike(self, u: Tensor, product: Tensor, along: float) -> Tensor:
        """The kernel at `along * u`, [N, S]; `product` is u @ support.T."""
        squares = along * along * u.square().sum(dim=1, keepdim=True) + self.lengths - 2 * along * product
        return torch.exp(-self.gamma * squares.clamp_min(0.0))

    @torch.jit.export
    def blame(self, features: Tensor, answer: Tensor) -> Tensor:
        """As of `LinearHead`: integrated gradients (Sundararajan, Taly, Yan 2017), the slope in closed form."""
        u = (features - self.center) * self.scale
        product = u @ self.support.T
        contrast = self.weight.T[answer] - self.weight.mean(dim=1)
        toward = torch.zeros_like(product)
        outward = torch.zeros_like(u[:, :1])
        for point in range(self.points):
            along = (point + 0.5) / self.points
            pull = contrast * self.alike(u, product, along)
            toward = toward + pull
            outward = outward + along * pull.sum(dim=1, keepdim=True)
        return (toward @ self.support - outward * u) * (2 * self.gamma / self.points) * self.scale
