"""What metrics are made of: arrays of answers, and numbers with their 95 % interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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


class Number(Protocol):
    """As `Interval`, whoever keeps it."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


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
