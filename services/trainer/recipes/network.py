"""A backbone with a linear head on its statistics, as it is trained by gradients."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.trainer.recipes.backbone import Backbone
from services.trainer.recipes.extractor import statistics
from services.trainer.recipes.heads import LinearHead


class Network(nn.Module):
    """float32 [N, 3, P, P] as `Extractor.seen` gives it -> logits [N, C].

    `center` and `spread` [D] standardise the statistics, so that one learning rate does for all weights of the head.
    """

    center: Tensor
    spread: Tensor

    def __init__(self, backbone: Backbone, weight: Tensor, bias: Tensor, center: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.backbone = cast(nn.Module, backbone)
        self.register_buffer("center", center.to(torch.float32))
        self.register_buffer("spread", spread.to(torch.float32))
        self.weight = nn.Parameter(weight.to(torch.float32))
        self.bias = nn.Parameter(bias.to(torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        features = torch.cat([statistics(one) for one in self.backbone(x)], dim=1)
        return F.linear((features - self.center) / self.spread, self.weight, self.bias)

    def stages(self) -> list[nn.Module]:
        """Of the backbone, from the pixels on."""
        return cast(Backbone, self.backbone).stages()

    def thaw(self, frozen_stages: int) -> None:
        """Train all stages but the first `frozen_stages`. At least the last stage is trained."""
        stages = self.stages()
        for place, stage in enumerate(stages):
            stage.requires_grad_(place >= min(frozen_stages, len(stages) - 1))

    def parts(self, frozen_stages: int) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of the first `frozen_stages`, of the later ones, and of the head."""
        stages = self.stages()
        first = min(frozen_stages, len(stages) - 1)
        early, late = (
            [one for stage in some for one in stage.parameters()] for some in (stages[:first], stages[first:])
        )
        return early, late, [self.weight, self.bias]

    def as_head(self) -> LinearHead:
        """The head, standardisation folded in."""
        return LinearHead(self.weight.detach() / self.spread, self.bias, self.center)
