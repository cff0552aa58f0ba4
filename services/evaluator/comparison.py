"""Two models on the same images: by how much one is better, and whether that may be chance."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.evaluator.intervals import Labels, Probabilities, wilson
from services.evaluator.metrics import by_name, scores

_RESAMPLES = 2000
_AT_ONCE = 100

Rows = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """`difference` is candidate minus champion, with its 95 % interval; `p_value` is two-sided, of no difference.

    Interval and p-value are None where a class has a single image, which says nothing of how images vary.
    """

    metric: str
    images: int
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    test: Literal["mcnemar", "bootstrap"]
    only_candidate_right: int
    only_champion_right: int


def compare(
    truth: Labels, candidate: Probabilities, champion: Probabilities, classes: Sequence[str], metric: str
) -> Comparison | None:
    """Compare two models by a metric of the card; None where it cannot be computed for both.

    `truth` int64 [n] of indices into `classes`; both models' probabilities [n, len(classes)], rows of the same images.
    """
    values = [by_name(scores(truth, asked, classes)).get(metric) for asked in (candidate, champion)]
    mine, other = (found.value if found else None for found in values)
    if mine is None or other is None:
        return None
    right, right_too = (asked.argmax(axis=1) == truth for asked in (candidate, champion))
    only_mine, only_other = int((right & ~right_too).sum()), int((right_too & ~right).sum())
    n, difference = len(truth), mine - other
    if metric == "accuracy":
        both, neither = int((right & right_too).sum()), int((~right & ~right_too).sum())
        interval, p = newcombe(both, only_mine, only_other, neither), mcnemar(only_mine, only_other)
        return Comparison(metric, n, difference, *interval, p, "mcnemar", only_mine, only_other)
    low_high_p = bootstrap(truth, candidate, champion, classes, metric)
    return Comparison(metric, n, difference, *low_high_p, "bootstrap", only_mine, only_other)


def mcnemar(only_one_right: int, only_other_right: int) -> float:
    """Two-sided p-value of McNemar's exact test: where one model is right and the other wrong, is it a fair coin?"""
    decided = only_one_right + only_other_right
    return float(stats.binomtest(only_one_right, decided).pvalue) if decided else 1.0


def newcombe(both: int, only_one: int, only_other: int, neither: int) -> tuple[float, float]:
    """95 % interval of a difference of paired proportions (Newcombe 1998, method 10: Wilson's, squared and added).

    Counts of images that both, only one, only the other or neither gets right; at least one image.
    """
    n = both + only_one + only_other + neither
    one, other = wilson(both + only_one, n), wilson(both + only_other, n)
    product = both * neither - only_one * only_other
    corrected = max(product - n / 2, 0.0) if product > 0 else product
    marginals = (both + only_one) * (only_other + neither) * (both + only_other) * (only_one + neither)
    correlation = corrected / math.sqrt(marginals) if marginals else 0.0
    assert one.value is not None
    assert one.low is not None
    assert one.high is not None
    assert other.value is not None
    assert other.low is not None
    assert other.high is not None

    def width(first: float, second: float) -> float:
        return math.sqrt(max(0.0, first**2 - 2 * correlation * first * second + second**2))

    difference = one.value - other.value
    below = width(one.value - one.low, other.high - other.value)
    above = width(one.high - one.value, other.value - other.low)
    return max(-1.0, difference - below), min(1.0, difference + above)


def bootstrap(
    truth: Labels, candidate: Probabilities, champion: Probabilities, classes: Sequence[str], metric: str
) -> tuple[float | None, float | None, float | None]:
    """Low, high and two-sided p-value of the difference by the paired percentile bootstrap, drawn within each class.

    The same images are drawn for both models. The p-value is twice the share of draws on the other side of nothing.
    Seeded: the same answers have the same interval.
    """
    of_class = [np.flatnonzero(truth == place) for place in range(len(classes))]
    drawn_from = [rows for rows in of_class if len(rows)]
    if any(len(rows) < 2 for rows in drawn_from):
        return None, None, None
    one, other = (_metric_of_rows(metric, truth, asked, classes) for asked in (candidate, champion))

    def difference(*drawn: Rows, axis: int) -> Values:
        rows = np.concatenate(drawn, axis=axis)
        return one(rows) - other(rows)

    found = stats.bootstrap(
        drawn_from, difference, vectorized=True, n_resamples=_RESAMPLES, batch=_AT_ONCE, method="percentile", rng=0
    )
    differences = found.bootstrap_distribution
    against = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    low, high = found.confidence_interval
    return float(low), float(high), min(1.0, 2 * (against + 1) / (_RESAMPLES + 1))


def _metric_of_rows(
    metric: str, truth: Labels, probabilities: Probabilities, classes: Sequence[str]
) -> Callable[[Rows], Values]:
    """A function of rows [..., n] that gives the metric on them [...]. A precision of no answers is 0."""
    kind, _, label = metric.partition(".")
    asked_of = [list(classes).index(label)] if label else range(len(classes))
    answered = probabilities.argmax(axis=1)

    def of_class(rows: Rows, place: int) -> Values:
        is_it = truth[rows] == place
        if kind == "roc_auc":
            ranks = stats.rankdata(probabilities[rows, place], axis=-1)
            positives = is_it.sum(axis=-1)
            above = (ranks * is_it).sum(axis=-1) - positives * (positives + 1) / 2
            return np.asarray(above / (positives * (rows.shape[-1] - positives)))
        says_it = answered[rows] == place
        right = (is_it & says_it).sum(axis=-1)
        out_of = {
            "recall": is_it.sum(axis=-1),
            "macro_recall": is_it.sum(axis=-1),
            "precision": says_it.sum(axis=-1),
            "macro_f1": (is_it.sum(axis=-1) + says_it.sum(axis=-1)) / 2,
        }[kind]
        return np.asarray(right / np.maximum(out_of, 0.5))

    return lambda rows: np.mean([of_class(rows, place) for place in asked_of], axis=0)
