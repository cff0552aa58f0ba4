"""The recipe `tutorial`: PrimeHub's published screw recipe, a frozen backbone under one dense layer.

SGD with momentum 0.9, batches of 8, 25 epochs, learning rate 0.01 or 0.05, divided by 5 after epochs 10 and 20. Here to
be compared with; `frozen-features` is better.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from services.chassis.errors import Rejected
from services.trainer.dataset import Dataset
from services.trainer.recipes.classifier import Classifier, classifier, saved
from services.trainer.recipes.extractor import STATISTICS, eager, extractor
from services.trainer.recipes.features import features_of
from services.trainer.recipes.head import likeliest_temperature
from services.trainer.recipes.heads import LinearHead
from services.trainer.recipes.making import GOLDEN, answered, labels_of, validated, validation_metrics
from services.trainer.recipes.parameters import Tutorial
from services.trainer.recipes.recipe import Context, MadeModel


def train(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    """Train on a dataset. The seed decides the first weights and the order of the images.

    Raises:
        Rejected: an image is gone or unreadable, or the loss is no number; the text says what to do.
    """
    chosen = Tutorial.model_validate(parameters)
    training, validation = dataset.of_split("train"), dataset.of_split("validation")
    extract = extractor(chosen.image_px, chosen.backbone)
    last = int(extract.channels[-1])
    start = int(extract.width) - STATISTICS * last
    # The dense layer sees the means of the last map alone.
    means = slice(start, start + last)
    features = features_of((*training, *validation), chosen, context)[:, means]
    labels, of_validation = labels_of(training), labels_of(validation)
    dense, metrics = dense_layer(features[: len(training)], labels, len(dataset.classes), chosen, context)
    with torch.inference_mode():
        logits = dense(features[len(training) :])
    temperature = likeliest_temperature(logits, of_validation)
    weight = torch.zeros(len(dataset.classes), int(extract.width))
    weight[:, means] = dense.weight.detach()
    head = LinearHead(weight, dense.bias, torch.zeros(int(extract.width))).scaled(temperature)
    model = classifier(extract, head)
    golden = answered(model, dataset.golden(GOLDEN), context.blobs, chosen.max_side)
    metrics |= {"train_images": float(len(training)), "validation_images": float(len(validation))}
    metrics |= {"temperature": temperature, **validation_metrics(logits / temperature, of_validation)}
    plain = Classifier(eager(chosen.image_px, chosen.backbone), head).eval()
    judged = validated(validation, logits / temperature)
    return MadeModel(saved(model), golden, metrics, chosen.max_side, judged, eager=plain)


def dense_layer(
    features: Tensor, labels: Tensor, classes: int, chosen: Tutorial, context: Context
) -> tuple[torch.nn.Linear, dict[str, float]]:
    """One dense layer on features [n, D], and the metrics of its last epoch.

    Raises:
        Rejected: the loss is no number.
    """
    chance = torch.Generator().manual_seed(context.seed)
    dense = torch.nn.Linear(features.shape[1], classes)
    with torch.no_grad():
        # Glorot's, as Keras begins a dense layer.
        bound = math.sqrt(6 / (features.shape[1] + classes))
        dense.weight.copy_((2 * torch.rand(dense.weight.shape, generator=chance) - 1) * bound)
        dense.bias.zero_()
    steps = torch.optim.SGD(dense.parameters(), lr=chosen.lr, momentum=chosen.momentum)
    stepped = torch.optim.lr_scheduler.MultiStepLR(steps, list(chosen.divide_at), gamma=1 / chosen.divide_by)
    metrics: dict[str, float] = {}
    for epoch in range(chosen.epochs):
        losses, right = 0.0, 0
        for batch in torch.randperm(len(labels), generator=chance).split(chosen.batch):
            logits = dense(features[batch])
            loss = F.cross_entropy(logits, labels[batch])
            if not math.isfinite(value := float(loss.detach())):
                raise Rejected(
                    f"the loss is not a number in epoch {epoch + 1}: ask for a smaller lr than {chosen.lr:g}"
                )
            steps.zero_grad()
            loss.backward()
            steps.step()
            losses += value * len(batch)
            right += int((logits.argmax(dim=1) == labels[batch]).sum())
        stepped.step()
        metrics = {"train_loss": losses / len(labels), "train_accuracy": right / len(labels)}
        context.epoch(epoch + 1, chosen.epochs, metrics)
    return dense, metrics
