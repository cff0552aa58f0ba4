"""The recipe `anomaly`: only good parts need labels; what no good part has looked like is bad.

The card's first class is good, its second bad.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from services.chassis.blobs import Cache
from services.chassis.errors import Rejected
from services.trainer.dataset import Dataset, Example
from services.trainer.recipes.classifier import saved
from services.trainer.recipes.extractor import eager, extractor, extractor_key
from services.trainer.recipes.head import minimise
from services.trainer.recipes.kept import KeptFeatures
from services.trainer.recipes.making import GOLDEN, answered, labels_of, unprofiled, validated, validation_metrics
from services.trainer.recipes.parameters import Anomaly
from services.trainer.recipes.patches import Patches, Strangeness, coreset
from services.trainer.recipes.recipe import Context, MadeModel

# More patches than this are drawn from before the coreset is chosen, which takes time by their number.
_MOST_LOOKED_AT = 50_000
# So many good parts, and bad ones, are needed to learn from them where the limit is.
_ENOUGH_GOOD, _ENOUGH_BAD = 8, 3
# Without bad parts: odds of e² for each standard deviation beyond the limit.
_USUAL_SLOPE = 2.0
_LEAST_SPREAD = 0.02
_L2 = 0.01  # of the logistic regression on one number
_REVISION = "1"


def train(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    """Train on the good parts of a dataset. The seed decides which patches are remembered.

    Raises:
        Rejected: an image is gone or unreadable, the card has not two classes, or there are too few good parts.
    """
    chosen = Anomaly.model_validate(parameters)
    if len(dataset.classes) != 2:
        raise Rejected(
            f"anomaly tells good from bad, and the card has the classes {', '.join(dataset.classes)}: "
            "give it two, the good one first, or take another recipe"
        )
    training, validation = dataset.of_split("train"), dataset.of_split("validation")
    good = [example for example in training if example.label == 0]
    if len(good) < 2:
        raise Rejected(f"one image of {dataset.classes[0]} is not enough to learn what is usual: label a few more")
    aside = [example for example in validation if example.label == 0]
    if len(aside) < _ENOUGH_GOOD:
        # A part is not strange to itself: the limit is found on parts that are not remembered.
        aside, good = aside + good[::4], [example for place, example in enumerate(good) if place % 4]
    bad = [example for example in (*training, *validation) if example.label == 1]
    patches = Patches(extractor(chosen.image_px, chosen.backbone)).eval()
    described = _described([*good, *aside, *bad], patches, chosen, context)
    context.report("fit", 0, 2, {})
    model = remembered(described[: len(good)], patches, chosen, context.seed)
    context.report("fit", 1, 2, {})
    of_others = described[len(good) :]
    settle(model, scores(model, of_others[: len(aside)]), scores(model, of_others[len(aside) :]), chosen.false_alarms)
    context.report("fit", 2, 2, {})
    scripted = torch.jit.script(model.eval())
    logits = logits_of(model, _described(validation, patches, chosen, context))
    metrics = {
        "train_images": float(len(good)),
        "validation_images": float(len(validation)),
        "remembered_patches": float(len(model.bank)),
        **validation_metrics(logits, labels_of(validation)),
    }
    golden = answered(scripted, dataset.golden(GOLDEN), context.blobs, chosen.max_side)
    # What was scripted, on a backbone that is not.
    patches.extract = eager(chosen.image_px, chosen.backbone)
    return MadeModel(saved(scripted), golden, metrics, chosen.max_side, validated(validation, logits), eager=model)


def _described(examples: Sequence[Example], patches: Patches, chosen: Anomaly, context: Context) -> Tensor:
    """float32 [n, g * g, D], kept."""

    def describe(images: Tensor) -> Tensor:
        with torch.inference_mode(), unprofiled():
            return patches(images)[0].flatten(1)

    key = f"patches{_REVISION}-{extractor_key(chosen.image_px, chosen.backbone, 1)}-{chosen.max_side}"
    width = patches.cells**2 * patches.width
    cache = Cache(context.kept_root, f"features/{key}")
    kept = KeptFeatures(context.blobs, cache, describe, width=width, max_side=chosen.max_side)
    found = kept.of(examples, lambda done, total: context.report("features", done, total, {}))
    return found.view(len(examples), patches.cells**2, patches.width)


def remembered(described: Tensor, patches: Patches, chosen: Anomaly, seed: int) -> Strangeness:
    """A model that remembers a coreset of these patches [n, g * g, D] of good parts."""
    chance = torch.Generator().manual_seed(seed)
    flat = described.flatten(0, 1)
    spread = flat.std(dim=0)
    scale = torch.where(spread > 1e-4, 1 / spread.clamp_min(1e-4), 0.0) / math.sqrt(flat.shape[1])
    looked_at = flat[torch.randperm(len(flat), generator=chance)[:_MOST_LOOKED_AT]] * scale
    size = min(chosen.most_patches, math.ceil(chosen.share * len(flat)))
    return Strangeness(patches, looked_at[coreset(looked_at, size, chance)], scale)


def scores(model: Strangeness, described: Tensor) -> Tensor:
    """How strange each image is, float32 [n]: logarithm of a distance."""
    return torch.cat([torch.empty(0), *(model.of_image(model.distances(one[None]).log()) for one in described)])


def settle(model: Strangeness, good: Tensor, bad: Tensor, false_alarms: float) -> None:
    """Set where bad begins, from scores of parts that the model does not remember.

    With bad ones by a logistic regression (Platt), classes counting alike; without, so that `false_alarms` of the good
    are beyond it where their scores are normally distributed.
    """
    model.usual = float(good.mean())
    model.spread = max(float(good.std()) if len(good) > 1 else 0.0, _LEAST_SPREAD)
    model.limit, model.slope = NormalDist().inv_cdf(1 - false_alarms), _USUAL_SLOPE
    if len(bad) < _ENOUGH_BAD:
        return
    z = ((torch.cat((good, bad)) - model.usual) / model.spread).to(torch.float64)[:, None]
    labels = torch.tensor([0] * len(good) + [1] * len(bad))
    weights = torch.tensor([1 / len(good), 1 / len(bad)], dtype=torch.float64)
    fitted, _ = minimise(z, labels, _L2, weights, torch.zeros(2, 2, dtype=torch.float64))
    slope, offset = (float(row[1] - row[0]) for row in fitted)
    if slope > 0:
        model.limit, model.slope = -offset / slope, slope


def logits_of(model: Strangeness, described: Tensor) -> Tensor:
    """float32 [n, 2], whose softmax are the probabilities."""
    strange = (scores(model, described) - model.usual) / model.spread
    odds = model.slope * (strange - model.limit)
    return torch.stack((torch.zeros_like(odds), odds), dim=1)
