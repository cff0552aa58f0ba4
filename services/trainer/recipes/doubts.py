"""What heads that never saw them say of labelled images: likely wrong labels are found by it."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from services.trainer.dataset import Example
from services.trainer.recipes.head import Examples, Head, Space, class_weights, minimise

FOLDS = 5


def doubts(examples: Sequence[Example], logits: Tensor, labels: Tensor, classes: Sequence[str]) -> bytes:
    """npz of `sha256` [n], `probabilities` float32 [n, C], `labels` int64 [n], `classes` [C]."""
    out = io.BytesIO()
    np.savez(
        out,
        sha256=np.array([example.sha256 for example in examples]),
        probabilities=torch.softmax(logits, dim=1).to(torch.float32).numpy(),
        labels=labels.numpy(),
        classes=np.array(classes),
    )
    return out.getvalue()


def out_of_fold(space: Space, training: Examples, classes: int, head: Head, balanced: bool) -> Tensor | None:
    """Logits float64 [n, C] of training images at the penalty and temperature of `head`, of five fits to four fifths.

    The images' place in `space` is found once for all of them: it depends on no label. None where a class has an image
    alone: the fit that has not seen it does not know the class.

    Raises:
        NotFinite: the loss is no number.
    """
    if int(torch.bincount(training.labels, minlength=classes).min()) < 2:
        return None
    logits = torch.empty(len(training.labels), classes, dtype=torch.float64)
    folds = stratified(training.labels, classes)
    for fold in range(FOLDS):
        aside = folds == fold
        labels = training.labels[~aside]
        weights = class_weights(labels, classes, balanced)
        start = torch.zeros(space.inside.shape[1] + 1, classes, dtype=torch.float64)
        fitted, _ = minimise(space.inside[~aside], labels, head.l2, weights, start)
        logits[aside] = (space.inside[aside] @ fitted[:-1] + fitted[-1]) / head.temperature
    return logits


def stratified(labels: Tensor, classes: int) -> Tensor:
    """The fold of each image, int64 [n]: the images of a class in turns, in their order, which is that of hashes."""
    folds = torch.empty_like(labels)
    for label in range(classes):
        of_class = labels == label
        folds[of_class] = torch.arange(int(of_class.sum())) % FOLDS
    return folds
