"""Parts of the test set: the images that share a value of their metadata. NumPy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.evaluator.intervals import Interval, Labels, Number, Probabilities
from services.evaluator.metrics import by_name, scores

Value = str | int | float | bool

_MOST_KEYS = 10
_MOST_VALUES = 20
_PARTS = 4
# Slices travel in an event.
_LONGEST = 100


@dataclass(frozen=True)
class Slice:
    """One part. `images` are those that count for `metric`: of a recall the images of the class, of a precision the
    answers of it, else all.
    """

    key: str
    value: str
    metric: str
    images: int
    score: Number


def slices(
    metadata: Sequence[Mapping[str, Value]],
    truth: Labels,
    probabilities: Probabilities,
    classes: Sequence[str],
    *,
    metric: str,
    keys: Sequence[str] = (),
) -> tuple[Slice, ...]:
    """Score each part of the test set by one metric.

    `metadata` of n images, `truth` int64 [n] of indices into `classes`, `probabilities` [n, classes]. `keys` names what
    the parts are made of; where it names none, each key does, at most ten in alphabetical order.

    Numbers of more than 20 values are cut into quarters of equally many images. Texts of more than 20 values are names
    of images rather than of parts, and make none.
    """
    known = keys or sorted({key for one in metadata for key in one if len(key) <= _LONGEST})[:_MOST_KEYS]
    found = []
    for key in known:
        for value, rows in _parts(metadata, key):
            mine, asked = truth[rows], probabilities[rows]
            score = by_name(scores(mine, asked, classes)).get(metric, Interval(None))
            found.append(Slice(key, value, metric, _counting(metric, mine, asked, classes), score))
    return tuple(found)


def _parts(metadata: Sequence[Mapping[str, Value]], key: str) -> list[tuple[str, list[int]]]:
    """Each value and the rows that have it."""
    rows = [row for row, one in enumerate(metadata) if key in one]
    values = [metadata[row][key] for row in rows]
    different = len({_text(value) for value in values})
    if different > _MOST_VALUES:
        return _quarters(values, rows)
    parts: dict[str, list[int]] = {}
    for row, value in zip(rows, values, strict=True):
        parts.setdefault(_text(value), []).append(row)
    return sorted(parts.items())


def _quarters(values: Sequence[Value], rows: Sequence[int]) -> list[tuple[str, list[int]]]:
    if any(isinstance(value, str | bool) for value in values):
        return []
    numbers = np.array(values, np.float64)
    edges = np.quantile(numbers, np.arange(1, _PARTS) / _PARTS)
    part_of = np.searchsorted(edges, numbers, "left")
    parts = []
    for part in range(_PARTS):
        inside = np.flatnonzero(part_of == part)
        if len(inside):
            low, high = numbers[inside].min(), numbers[inside].max()
            parts.append((f"{low:.4g} to {high:.4g}", [rows[int(place)] for place in inside]))
    return parts


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)[:_LONGEST]


def _counting(metric: str, truth: Labels, probabilities: Probabilities, classes: Sequence[str]) -> int:
    kind, dot, label = metric.partition(".")
    if not dot or label not in classes:
        return len(truth)
    of_class = truth if kind == "recall" else probabilities.argmax(axis=1)
    return int((of_class == list(classes).index(label)).sum())
