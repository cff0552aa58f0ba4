"""Whether a model's probabilities mean what they say. NumPy only."""

from dataclasses import dataclass

import numpy as np

from services.evaluator.intervals import Labels, Probabilities

# A share of fewer images is off by ten points or more by chance alone, which would read as bad calibration.
_FEWEST_IN_A_BIN = 25
_MOST_BINS = 15


@dataclass(frozen=True)
class Confident:
    """The images about which the model was similarly sure, and how many of those answers are right, in 0..1."""

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """`error` is the expected calibration error and `brier` the halved Brier score, both in 0..1, best 0."""

    error: float
    brier: float
    bins: tuple[Confident, ...]


def calibration(truth: Labels, probabilities: Probabilities) -> Calibration | None:
    """Hold the probability of each answer against how often such answers are right.

    `truth` int64 [n] of column numbers, `probabilities` [n, classes]; None without images.

    Bins hold equally many images (adaptive: Nixon et al. 2019), at least 25 each, at most 15 bins. The error is still
    biased upwards on few images. The Brier score (1950) is halved, so that with two classes it is the usual one.
    """
    n = len(truth)
    if not n:
        return None
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    ordered = np.argsort(confidence, kind="stable")
    rows = np.array_split(ordered, max(1, min(_MOST_BINS, n // _FEWEST_IN_A_BIN)))
    bins = tuple(
        Confident(len(part), min(1.0, float(confidence[part].mean())), float(right[part].mean())) for part in rows
    )
    is_true = np.eye(probabilities.shape[1])[truth]
    return Calibration(
        error=sum(one.images * abs(one.confidence - one.accuracy) for one in bins) / n,
        brier=min(1.0, float(((probabilities - is_true) ** 2).sum(axis=1).mean()) / 2),
        bins=bins,
    )
