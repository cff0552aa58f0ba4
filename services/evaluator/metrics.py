"""How good a model is on a test set, each number with its 95 % interval. NumPy only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.evaluator.intervals import Interval, Labels, Number, Probabilities, Z, mean_of_proportions, wilson
from services.evaluator.roc import macro_roc_auc


@dataclass(frozen=True)
class ClassScores:
    """Of one class. `support` is the number of test images of it."""

    label: str
    support: int
    precision: Interval
    recall: Interval


@dataclass(frozen=True)
class Scores:
    """Of one model. `confusion[true][answered]` counts images."""

    test_images: int
    accuracy: Interval
    macro_recall: Interval
    macro_f1: Interval
    roc_auc: Interval
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]


def scores(truth: Labels, probabilities: Probabilities, classes: Sequence[str]) -> Scores:
    """Score answers against the truth.

    `truth` int64 [n] of indices into `classes`, `probabilities` [n, len(classes)]. The answer is the likeliest class.

    Raises:
        ValueError: the shapes do not fit together, or a truth is no index of a class.
    """
    n, width = len(truth), len(classes)
    if probabilities.shape != (n, width):
        raise ValueError(f"{n} images of {width} classes have answers of shape {probabilities.shape}")
    confusion = np.zeros((width, width), np.int64)
    answered = probabilities.argmax(axis=1) if n else np.zeros(0, np.int64)
    np.add.at(confusion, (truth, answered), 1)
    right = np.diag(confusion)
    support, given = confusion.sum(axis=1), confusion.sum(axis=0)
    recalls = [wilson(int(k), int(of)) for k, of in zip(right, support, strict=True)]
    precisions = [wilson(int(k), int(of)) for k, of in zip(right, given, strict=True)]
    return Scores(
        test_images=n,
        accuracy=wilson(int(right.sum()), n),
        macro_recall=mean_of_proportions(recalls),
        macro_f1=macro_f1(confusion),
        roc_auc=macro_roc_auc(truth, probabilities),
        classes=tuple(
            ClassScores(label, int(of), precision, recall)
            for label, of, precision, recall in zip(classes, support, precisions, recalls, strict=True)
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


class OfClass(Protocol):
    """As `ClassScores`."""

    @property
    def label(self) -> str: ...
    @property
    def precision(self) -> Number: ...
    @property
    def recall(self) -> Number: ...


class Scored(Protocol):
    """As `Scores`."""

    @property
    def accuracy(self) -> Number: ...
    @property
    def macro_recall(self) -> Number: ...
    @property
    def macro_f1(self) -> Number | None: ...
    @property
    def roc_auc(self) -> Number: ...
    @property
    def classes(self) -> Sequence[OfClass]: ...


def by_name(scored: Scored) -> dict[str, Number]:
    """Every number that a gate may name, under its name on the card."""
    return {
        "accuracy": scored.accuracy,
        "macro_recall": scored.macro_recall,
        "macro_f1": scored.macro_f1 or Interval(None),
        "roc_auc": scored.roc_auc,
        **{f"recall.{one.label}": one.recall for one in scored.classes},
        **{f"precision.{one.label}": one.precision for one in scored.classes},
    }


def macro_f1(confusion: Labels) -> Interval:
    """F1 averaged over the classes, of counts int64 [true, answered]; None where a class has no images.

    The interval is that of the delta method for a multinomial sample (Takahashi et al. 2022). It has no width where all
    or none is right; Wilson's for the accuracy, which is then the same number, takes its place.
    """
    n, width = int(confusion.sum()), len(confusion)
    support, right = confusion.sum(axis=1), np.diag(confusion)
    if not width or not support.all():
        return Interval(None)
    if right.sum() in (0, n):
        return wilson(int(right.sum()), n)
    of_both = support + confusion.sum(axis=0)
    f1 = 2 * right / of_both
    # How F1 of a class moves with the share of a cell: both its sums grow, and on the diagonal what is right, too.
    falls = f1 / of_both
    slopes = -(falls[:, None] + falls[None, :])
    np.fill_diagonal(slopes, 2 * (1 - f1) / of_both)
    slopes = slopes * n / width
    shares = confusion / n
    variance = (shares * slopes**2).sum() - (shares * slopes).sum() ** 2
    mean, half = float(f1.mean()), Z * math.sqrt(max(0.0, float(variance)) / n)
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))
