"""How good a model is on a test set, each number with its 95 % interval. NumPy only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054  # two-sided 95 % of a normal distribution

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A number in 0..1 with its interval; None where it cannot be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None


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
        roc_auc=macro_roc_auc(truth, probabilities),
        classes=tuple(
            ClassScores(label, int(of), precision, recall)
            for label, of, precision, recall in zip(classes, support, precisions, recalls, strict=True)
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def wilson(successes: int, trials: int) -> Interval:
    """A proportion with Wilson's score interval, which stays sensible for few trials and at 0 and 1."""
    if trials == 0:
        return Interval(None)
    p, z2 = successes / trials, Z * Z
    center = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z / (1 + z2 / trials) * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    return Interval(p, max(0.0, min(p, center - half)), min(1.0, max(p, center + half)))


def mean_of_proportions(parts: Sequence[Interval]) -> Interval:
    """The mean of independent proportions. Its interval adds their one-sided widths in squares (Newcombe 1998).

    None where one of them cannot be computed.
    """
    if not parts:
        return Interval(None)
    mean, below, above = 0.0, 0.0, 0.0
    for part in parts:
        if part.value is None or part.low is None or part.high is None:
            return Interval(None)
        mean += part.value / len(parts)
        below += (part.value - part.low) ** 2
        above += (part.high - part.value) ** 2
    low, high = mean - math.sqrt(below) / len(parts), mean + math.sqrt(above) / len(parts)
    return Interval(min(1.0, mean), max(0.0, low), min(1.0, high))


def macro_roc_auc(truth: Labels, probabilities: Probabilities) -> Interval:
    """Area under the ROC curve of each class against the rest, averaged; with two classes that is the usual one.

    The interval uses the mean of the classes' standard errors, as if they erred together: rather too wide.
    """
    areas, errors = [], []
    for index in range(probabilities.shape[1]):
        of_class = truth == index
        area = roc_auc(probabilities[of_class, index], probabilities[~of_class, index])
        if area is None:
            return Interval(None)
        areas.append(area)
        errors.append(hanley_mcneil(area, int(of_class.sum()), int((~of_class).sum())))
    if not areas:
        return Interval(None)
    mean, error = float(np.mean(areas)), float(np.mean(errors))
    return Interval(mean, max(0.0, mean - Z * error), min(1.0, mean + Z * error))


def roc_auc(positives: Probabilities, negatives: Probabilities) -> float | None:
    """The chance that a positive is scored above a negative, ties counted as half; None where one side is empty."""
    if not len(positives) or not len(negatives):
        return None
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, "left") + np.searchsorted(ordered, positives, "right")
    return float(below.sum()) / (2 * len(positives) * len(negatives))


def hanley_mcneil(area: float, positives: int, negatives: int) -> float:
    """Standard error of an area under the ROC curve (Hanley and McNeil 1982)."""
    two_positives = area / (2 - area)
    two_negatives = 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (positives - 1) * (two_positives - area**2) + (negatives - 1) * (two_negatives - area**2)
    ) / (positives * negatives)
    return math.sqrt(max(0.0, variance))
