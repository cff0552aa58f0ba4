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

    def parts(self, frozen_stages: int) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of the first `frozen_stages`, and all others."""
        first = min(frozen_stages, len(self.stages()) - 1)
        early = [parameter for stage in self.stages()[:first] for parameter in stage.parameters()]
        known = {id(parameter) for parameter in early}
        return early, [parameter for parameter in self.parameters() if id(parameter) not in known]

    def as_head(self) -> LinearHead:
        """The head, standardisation folded in."""
        return LinearHead(self.weight.detach() / self.spread, self.bias, self.center)
