"""Whether the answers of a window are like those of the reference. Pure functions; statistics by scipy.

Each finding has a size in 0..1 and a p-value. Drift is what is both larger than the card's limit and too unlikely to be
chance: with many answers the smallest change is significant, with few a large one is chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import cdist

# Without any change 19 of 20 windows are known to be harmless after so few permutations.
_FIRST_LOOK = 99
_HARMLESS = 0.05
# With fewer sketches on a side nothing is said of the inputs.
_FEWEST = 30
# Rows of permutations held at once.
_BATCH = 500

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """n answers: sketches float32 [n, d], a row of NaN where one has none; labels; confidence float64 [n] in 0..1."""

    sketches: NDArray[np.float32]
    labels: tuple[str, ...]
    confidence: Numbers

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Finding:
    """How far a window is from the reference, how likely that is by chance, and its answers, the farthest first."""

    statistic: float
    p_value: float
    order: tuple[int, ...]


@dataclass(frozen=True)
class Accuracy:
    """The share that is right, with its 95 % interval (Wilson), and how likely so few are if the floor were true."""

    statistic: float
    low: float
    high: float
    p_value: float


def inputs(reference: Answers, window: Answers, alpha: float, seed: int) -> Finding | None:
    """The energy test (Székely and Rizzo 2013) on sketches, by permutation; None where a side has too few of them.

    The statistic is their coefficient of inhomogeneity: `(2 E|X-Y| - E|X-X'| - E|Y-Y'|) / 2 E|X-Y|`. A p-value that is
    harmless at the first look stays as coarse as it is; any other is as fine as `alpha` needs.
    """
    before, now = (side.sketches[np.isfinite(side.sketches).all(axis=1)] for side in (reference, window))
    if min(len(before), len(now)) < _FEWEST:
        return None
    here = len(before)
    pooled = np.concatenate([before, now]).astype(np.float64)
    distances = cdist(pooled, pooled)
    random = np.random.default_rng(seed)
    first = _energy_test(distances, here, _FIRST_LOOK, random)
    p_value = first if first > _HARMLESS else _energy_test(distances, here, _enough(alpha), random)
    across = float(distances[:here, here:].mean())
    energy = 2 * across - float(distances[:here, :here].mean() + distances[here:, here:].mean())
    # Far from the reference for one of the window: what it adds to the energy.
    apart = distances[here:, :here].mean(axis=1) - distances[here:, here:].mean(axis=1)
    rows = np.flatnonzero(np.isfinite(window.sketches).all(axis=1))
    order = tuple(int(rows[place]) for place in _farthest(apart))
    return Finding(max(0.0, energy) / (2 * across) if across else 0.0, p_value, order)


def _energy_test(distances: Numbers, here: int, resamples: int, random: np.random.Generator) -> float:
    """The share of divisions of the pooled rows, `here` of them on one side, with an energy as large as this one's."""
    rows = np.arange(len(distances))

    def energy(side: NDArray[np.int64], other: NDArray[np.int64], axis: int) -> Numbers:
        weights = np.zeros((*side.shape[:-1], len(distances)))
        np.put_along_axis(weights, side, 1 / side.shape[-1], axis)
        np.put_along_axis(weights, other, -1 / other.shape[-1], axis)
        found: Numbers = -((weights @ distances) * weights).sum(axis)
        return found

    found = stats.permutation_test(
        (rows[:here], rows[here:]),
        energy,
        vectorized=True,
        n_resamples=resamples,
        batch=_BATCH,
        alternative="greater",
        rng=random,
    )
    return float(found.pvalue)


def classes(reference: Answers, window: Answers, alpha: float, seed: int) -> Finding:
    """The mix of answered classes: total variation distance, chi-squared test on tables drawn with the same margins.

    First in order are answers of the class that became more frequent, the surest first.
    """
    names = sorted({*reference.labels, *window.labels})
    before, now = _counts(reference.labels, names), _counts(window.labels, names)
    more = now / len(window) - before / len(reference)
    order = _farthest(np.array([more[names.index(label)] for label in window.labels]) + 1e-6 * window.confidence)
    if len(names) == 1:
        return Finding(0.0, 1.0, order)
    method = stats.MonteCarloMethod(n_resamples=_enough(alpha), rng=np.random.default_rng(seed))
    found = stats.chi2_contingency(np.stack([before, now]), correction=False, method=method)
    return Finding(float(np.abs(more).sum() / 2), float(found.pvalue), order)


def confidence(reference: Answers, window: Answers) -> Finding:
    """How sure the answers are: Kolmogorov and Smirnov's two-sample test.

    First in order are the least sure of the window, or the surest where it is surer than the reference.
    """
    found = stats.ks_2samp(reference.confidence, window.confidence)
    surer = np.mean(window.confidence) > np.mean(reference.confidence)
    order = _farthest(window.confidence if surer else -window.confidence)
    return Finding(float(found.statistic), float(found.pvalue), order)


def accuracy(right: int, judged: int, floor: float) -> Accuracy:
    """Whether fewer than `floor` of what people judged is right: the exact binomial test, one-sided."""
    found = stats.binomtest(right, judged, floor, alternative="less")
    interval = stats.binomtest(right, judged).proportion_ci(0.95, method="wilson")
    return Accuracy(right / judged, float(interval.low), float(interval.high), float(found.pvalue))


def _enough(alpha: float) -> int:
    """So many random draws that a p-value can get below `alpha`."""
    return max(_FIRST_LOOK, int(np.ceil(1 / alpha)))


def _counts(labels: Sequence[str], names: Sequence[str]) -> NDArray[np.int64]:
    return np.array([labels.count(name) for name in names])


def _farthest(values: Numbers) -> tuple[int, ...]:
    return tuple(int(place) for place in np.argsort(-values, kind="stable"))
