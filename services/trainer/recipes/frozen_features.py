"""The recipe `frozen-features`: kept features of a frozen backbone, a fitted head, TorchScript."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from services.chassis.errors import Rejected
from services.trainer.dataset import Dataset
from services.trainer.recipes.classifier import Classifier, classifier, saved
from services.trainer.recipes.doubts import doubts, out_of_fold
from services.trainer.recipes.extractor import eager, extractor
from services.trainer.recipes.features import features_of
from services.trainer.recipes.head import Examples, Head, NotFinite, Space, accuracy, fit_head
from services.trainer.recipes.heads import KernelHead
from services.trainer.recipes.making import GOLDEN, answered, labels_of, validated, validation_metrics
from services.trainer.recipes.parameters import FrozenFeatures
from services.trainer.recipes.recipe import Context, MadeModel


def train(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    """Train on a dataset. Nothing in it is random: the seed changes nothing.

    Raises:
        Rejected: an image is gone or unreadable, or the loss is no number; the text says what to do.
    """
    chosen, report = FrozenFeatures.model_validate(parameters), context.report
    known = dataset.of_split("train", "validation")
    features, labels = features_of(known, chosen, context, chosen.views), labels_of(known)
    in_train = torch.tensor([example.split == "train" for example in known])
    training = Examples(features[in_train], labels[in_train])
    validation = Examples(features[~in_train], labels[~in_train])
    balanced = chosen.class_weight == "balanced"
    try:
        space = Space(training.features)
        head = fit_head(
            training,
            validation,
            len(dataset.classes),
            l2=chosen.l2,
            balanced=balanced,
            space=space,
            report=lambda done, total, loss: report("fit", done, total, {"loss": loss}),
        )
        of_training = out_of_fold(space, training, len(dataset.classes), head, balanced) if chosen.doubts else None
    except NotFinite as error:
        raise Rejected(str(error)) from error
    report("export", 0, 2, {})
    serves = KernelHead(head)
    scripted = classifier(extractor(chosen.image_px, chosen.backbone), serves, chosen.views)
    plain = Classifier(eager(chosen.image_px, chosen.backbone), serves, chosen.views).eval()
    model = saved(scripted)
    report("export", 1, 2, {})
    golden = answered(scripted, dataset.golden(GOLDEN), context.blobs, chosen.max_side)
    report("export", 2, 2, {})
    logits = head.logits(validation.features)
    of_validation = validated(dataset.of_split("validation"), logits)
    doubted = None
    if of_training is not None:
        unseen = torch.empty(len(known), len(dataset.classes), dtype=torch.float64)
        unseen[in_train], unseen[~in_train] = of_training, logits
        doubted = doubts(known, unseen, labels, dataset.classes)
    metrics = measured(head, training, validation.labels, logits)
    return MadeModel(model, golden, metrics, chosen.max_side, of_validation, eager=plain, doubts=doubted)


def measured(head: Head, training: Examples, labels: Tensor, logits: Tensor) -> dict[str, float]:
    """What to know about a head, with its logits [n, C] of the validation images; what they cannot tell is left out."""
    return {
        "train_images": float(len(training.labels)),
        "validation_images": float(len(labels)),
        "train_loss": head.loss,
        "train_accuracy": accuracy(head.logits(training.features), training.labels),
        "l2": head.l2,
        "temperature": head.temperature,
        **validation_metrics(logits, labels),
    }
