"""The recipe `frozen-features`: kept features of a frozen backbone, a linear head, TorchScript."""

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.chassis.blobs import Cache
from services.chassis.errors import Rejected
from services.trainer.dataset import Dataset, Example
from services.trainer.recipes.classifier import classifier, saved
from services.trainer.recipes.extractor import FEATURES, extractor, extractor_key
from services.trainer.recipes.head import Examples, Head, NotFinite, accuracy, fit_head, log_loss
from services.trainer.recipes.kept import KeptFeatures, pixels
from services.trainer.recipes.parameters import FrozenFeatures
from services.trainer.recipes.recipe import Context, MadeModel, Reading

GOLDEN = 8


def train(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    """Train on a dataset. Nothing in it is random: the seed changes nothing.

    Raises:
        Rejected: an image is gone or unreadable, or the loss is no number; the text says what to do.
    """
    chosen, report = FrozenFeatures.model_validate(parameters), context.report
    known = dataset.of_split("train", "validation")
    features = _features(known, chosen, context)
    labels = torch.tensor([example.label for example in known], dtype=torch.int64)
    in_train = torch.tensor([example.split == "train" for example in known])
    training = Examples(features[in_train], labels[in_train])
    validation = Examples(features[~in_train], labels[~in_train])
    try:
        head = fit_head(
            training,
            validation,
            len(dataset.classes),
            l2=chosen.l2,
            balanced=chosen.class_weight == "balanced",
            report=lambda done, total, loss: report("fit", done, total, {"loss": loss}),
        )
    except NotFinite as error:
        raise Rejected(str(error)) from error
    report("export", 0, 2, {})
    scripted = classifier(head, chosen.image_px)
    model = saved(scripted)
    report("export", 1, 2, {})
    golden = answered(scripted, dataset.golden(GOLDEN), context.blobs, chosen.max_side)
    report("export", 2, 2, {})
    return MadeModel(model, golden, measured(head, training, validation), chosen.max_side)


def _features(examples: tuple[Example, ...], parameters: FrozenFeatures, context: Context) -> Tensor:
    def extract(images: Tensor) -> Tensor:
        with torch.inference_mode(), unprofiled():
            _, features = extractor(parameters.image_px)(images)
        assert isinstance(features, Tensor)
        return features

    key = f"{extractor_key(parameters.image_px)}-{parameters.max_side}"
    cache = Cache(context.kept_root, f"features/{key}")
    kept = KeptFeatures(context.blobs, cache, extract, width=FEATURES, max_side=parameters.max_side)
    return kept.of(examples, lambda done, total: context.report("features", done, total, {}))


def unprofiled() -> AbstractContextManager[None]:
    """TorchScript as it is: on a CPU its optimiser finds nothing here, and costs the first calls half a second."""
    context: AbstractContextManager[None] = torch.jit.optimized_execution(False)
    return context


def measured(head: Head, training: Examples, validation: Examples) -> dict[str, float]:
    """What to know about a head; what validation cannot tell is left out."""
    metrics = {
        "train_images": float(len(training.labels)),
        "validation_images": float(len(validation.labels)),
        "train_loss": head.loss,
        "train_accuracy": accuracy(head.logits(training.features), training.labels),
        "l2": head.l2,
        "temperature": head.temperature,
    }
    if len(validation.labels):
        logits = head.logits(validation.features)
        metrics["validation_accuracy"] = accuracy(logits, validation.labels)
        metrics["validation_log_loss"] = log_loss(logits, validation.labels)
    return metrics


def answered(model: torch.jit.ScriptModule, examples: tuple[Example, ...], blobs: Reading, max_side: int) -> bytes:
    """npz of `image_<i>` uint8 [3, H, W] and `probabilities` float32 [G, C]: what the model answers here.

    Each image is asked alone, as a node may be asked.
    """
    images = [pixels(example, blobs, max_side) for example in examples]
    with torch.inference_mode(), unprofiled():
        answers = [model(torch.from_numpy(image)[None])[0][0].numpy() for image in images]
    out = io.BytesIO()
    arrays: dict[str, Any] = {f"image_{place}": image for place, image in enumerate(images)}
    np.savez(out, **arrays, probabilities=np.stack(answers).astype(np.float32))
    return out.getvalue()
