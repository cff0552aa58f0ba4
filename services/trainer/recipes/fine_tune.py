"""The recipe `fine-tune`: the last stages of a backbone are trained with its head, then all of it."""

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from services.chassis.errors import Rejected
from services.trainer.dataset import Dataset, Example
from services.trainer.recipes.backbone import backbone
from services.trainer.recipes.batches import batches, chunks
from services.trainer.recipes.classifier import Classifier, classifier, saved
from services.trainer.recipes.extractor import Extractor, extractor, flipped
from services.trainer.recipes.features import features_of
from services.trainer.recipes.head import Examples, NotFinite, class_weights, likeliest_temperature, minimise
from services.trainer.recipes.heads import LinearHead
from services.trainer.recipes.making import GOLDEN, answered, labels_of, validated, validation_metrics
from services.trainer.recipes.network import Network
from services.trainer.recipes.parameters import FineTune
from services.trainer.recipes.recipe import Context, MadeModel
from services.trainer.recipes.sharing import first
from services.trainer.recipes.tuning import Tuning

_L2_AT_FIRST = 1e-4
_LEAST_SPREAD = 1e-2


def train(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    """Train on a dataset, from the last checkpoint on where there is one. All chance comes from the seed.

    Raises:
        Rejected: an image is gone or unreadable, or the loss is no number; the text says what to do.
    """
    chosen = FineTune.model_validate(parameters)
    training, validation = dataset.of_split("train"), dataset.of_split("validation")
    labels, classes = labels_of(training), len(dataset.classes)
    weights = class_weights(labels, classes, chosen.class_weight == "balanced")
    plain = backbone(chosen.backbone, chosen.image_px)
    try:
        with first():
            features = features_of(training, chosen, context)
        network = Network(plain, *begun(Examples(features, labels), weights))
        extract = Extractor(plain, plain, chosen.image_px)
        tuning = Tuning(network, extract, training, weights.to(torch.float32), chosen, context)
        tuned, metrics = tuning.run()
    except NotFinite as error:
        raise Rejected(str(error)) from error
    context.report("export", 0, 3, {})
    tuned.requires_grad_(False).eval()
    # A copy, and not traced anew: TorchScript counts the types it makes in a process, and the count is in the file.
    made = deepcopy(extractor(chosen.image_px, chosen.backbone))
    made.network.load_state_dict(tuned.backbone.state_dict())
    head = tuned.as_head()
    logits = asked(made, head, validation, chosen, context)
    temperature = likeliest_temperature(logits, labels_of(validation))
    context.report("export", 1, 3, {})
    serves = head.scaled(temperature)
    model = classifier(made, serves, chosen.views)
    # The averaged weights in the network that the training began with, for a copy of it cannot be asked: see `Tapped`.
    plain.load_state_dict(tuned.backbone.state_dict())  # type: ignore[attr-defined]
    eager = Classifier(extract, serves, chosen.views).eval()
    golden = answered(model, dataset.golden(GOLDEN), context.blobs, chosen.max_side)
    context.report("export", 2, 3, {})
    metrics |= {"train_images": float(len(training)), "validation_images": float(len(validation))}
    metrics |= {"temperature": temperature, **validation_metrics(logits / temperature, labels_of(validation))}
    judged = validated(validation, logits / temperature)
    return MadeModel(saved(model), golden, metrics, chosen.max_side, judged, eager=eager)


def begun(training: Examples, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weight [C, D] and bias [C] of a linear head fitted to the frozen features, with their mean and spread [D].

    From here on gradients have to mend what is wrong, and not to find everything again.
    """
    x = training.features.to(torch.float64)
    spread, center = torch.std_mean(x, dim=0, correction=0)
    spread = spread.clamp_min(_LEAST_SPREAD)
    unit = math.sqrt(x.shape[1])
    start = torch.zeros(x.shape[1] + 1, len(weights), dtype=torch.float64)
    fitted, _ = minimise((x - center) / spread / unit, training.labels, _L2_AT_FIRST, weights, start)
    return (fitted[:-1] / unit).T, fitted[-1], center, spread


def asked(extract: Any, head: LinearHead, examples: tuple[Example, ...], chosen: FineTune, context: Context) -> Tensor:
    """Logits float32 [n, C] over the views, as the exported module gives them but for the temperature."""
    found = [torch.empty(0, len(head.bias))]
    with torch.inference_mode():
        for x, _ in batches(chunks(examples, chosen.batch), context.blobs, chosen.max_side, extract.seen):
            found.append(
                torch.stack([head(extract.of_seen(flipped(x, view))[1]) for view in range(chosen.views)]).mean(dim=0)
            )
    return torch.cat(found)
