"""The area under the ROC curve. NumPy only."""

import math

import numpy as np

from services.evaluator.intervals import Interval, Labels, Probabilities, Z


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
