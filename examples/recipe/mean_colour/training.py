"""Trains by the mean and the spread of each colour. Loaded in the trainer's child process, which has torch."""

import io
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import loopline
from mean_colour import Parameters
from services.chassis.errors import Rejected
from services.chassis.images import BadImage, decode, shrink
from services.trainer.dataset import Dataset, Example
from services.trainer.recipes.recipe import Context, MadeModel

GOLDEN = 8


class MeanColour(nn.Module):
    """uint8 [N, 3, H, W] -> probabilities [N, C], heat map [N, 1, 1], embedding [N, 6], all float32."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(6, classes)

    def colours(self, images: Tensor) -> Tensor:
        """Mean and spread of red, green and blue, [N, 6]."""
        x = images.to(torch.float32) / 255.0
        return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3), correction=0)], dim=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The model as it serves. A mean has no place, so the heat map says nothing."""
        seen = self.colours(images)
        return torch.softmax(self.head(seen), dim=1), torch.zeros(seen.shape[0], 1, 1), seen


def train(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    """As `services.trainer.recipes.recipe.Train`."""
    chosen = Parameters.model_validate(parameters)
    torch.manual_seed(context.seed)
    model = MeanColour(len(dataset.classes))
    seen, labels = _known(model, dataset, chosen, context, "train")
    optimizer = torch.optim.Adam(model.parameters(), lr=chosen.rate)
    loss = torch.zeros(())
    for step in range(chosen.steps):
        loss = F.cross_entropy(model.head(seen), labels)
        if not torch.isfinite(loss):
            raise Rejected(f"the loss is no number after {step} steps: take a smaller rate than {chosen.rate:g}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        context.report("fit", step + 1, chosen.steps, {"loss": float(loss.detach())})
    metrics = {"train_loss": float(loss.detach())}
    if dataset.of_split("validation"):
        seen, labels = _known(model, dataset, chosen, context, "validation")
        metrics["validation_accuracy"] = float((model.head(seen).argmax(dim=1) == labels).float().mean())
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(model.eval()), out)
    pictures = [_pixels(example, chosen, context) for example in dataset.golden(GOLDEN)]
    try:
        golden = loopline.golden(out.getvalue(), pictures, dataset.classes, max_side=chosen.max_side)
    except loopline.Refused as error:
        raise Rejected(str(error)) from error
    return MadeModel(out.getvalue(), golden, metrics, chosen.max_side)


def _known(
    model: MeanColour, dataset: Dataset, chosen: Parameters, context: Context, split: Any
) -> tuple[Tensor, Tensor]:
    """What the model sees of a split, float32 [n, 6], and its labels, int64 [n]."""
    examples = dataset.of_split(split)
    seen = []
    for done, example in enumerate(examples, start=1):
        seen.append(model.colours(torch.from_numpy(_pixels(example, chosen, context))[None]))
        context.report("features", done, len(examples), {})
    return torch.cat(seen), torch.tensor([example.label for example in examples])


def _pixels(example: Example, chosen: Parameters, context: Context) -> Any:
    """uint8 [3, H, W] as the predictor will send it."""
    try:
        return shrink(decode(context.blobs.read(example.uri)), chosen.max_side)
    except BadImage as error:
        raise Rejected(f"image {example.sha256[:12]} is unreadable, take its label away: {error}") from error
