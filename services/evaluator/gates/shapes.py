"""What gates are given and what they say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from services.evaluator.comparison import Comparison
from services.evaluator.slices import Slice

# A gate at exactly its limit is passed, whatever the last bit says.
TOLERANCE = 1e-9

Verdict = Literal["passed", "failed", "cannot-be-judged"]


@dataclass(frozen=True)
class MissesLimit:
    """At most this share of a class may be missed, shown with this confidence."""

    label: str
    at_most: float
    confidence: float = 0.95


@dataclass(frozen=True)
class SlicesLimit:
    """What the worst slice must reach on `metric`. Slices of fewer images do not decide; no keys are all keys."""

    keys: tuple[str, ...]
    metric: str
    at_least: float
    min_images: int


@dataclass(frozen=True)
class Limits:
    """Of the card. Shares in 0..1; what is None is not asked for.

    On `compare` a candidate may be worse than the champion by `margin`, or has to be better by `gain`.
    """

    floors: tuple[tuple[str, float], ...]
    compare: str
    margin: float
    min_test_per_class: int
    gain: float | None = None
    p_value_at_most: float | None = None
    misses: tuple[MissesLimit, ...] = ()
    slices: SlicesLimit | None = None
    calibration_error_at_most: float | None = None
    size_mb_at_most: float | None = None
    better_than_guessing: bool = True


@dataclass(frozen=True)
class Candidate:
    """What it reaches: by metric; test images by class, and how many of those it gets right; and more."""

    values: Mapping[str, float | None]
    support: Mapping[str, int]
    right: Mapping[str, int]
    dataset_number: int
    macro_recall_low: float | None = None
    calibration_error: float | None = None
    size_mb: float = 0.0
    slices: tuple[Slice, ...] = ()


@dataclass(frozen=True)
class Champion:
    """The model that serves, and both models' values on the test images of the classes that both know."""

    version: int
    dataset_number: int
    values: Mapping[str, float | None]
    candidate_values: Mapping[str, float | None]
    images: int
    comparison: Comparison | None = None
    only_candidate_knows: tuple[str, ...] = ()
    only_champion_knows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """One gate and how it went."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    sentence: str


@dataclass(frozen=True)
class Judgement:
    """The verdict, in a word and in a sentence, and its gates."""

    verdict: Verdict
    sentence: str
    gates: tuple[Gate, ...]
