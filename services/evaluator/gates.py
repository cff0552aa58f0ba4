"""The gates of a card: what a candidate must reach, each with a sentence that a person would write."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# A gate at exactly its limit is passed, whatever the last bit says.
_TOLERANCE = 1e-9
_NAMES = {
    "accuracy": "Accuracy",
    "macro_recall": "Recall averaged over the classes",
    "roc_auc": "Area under the ROC curve",
}

Verdict = Literal["passed", "failed", "cannot-be-judged"]


@dataclass(frozen=True)
class Limits:
    """Of the card: floors by metric, and how much worse than the champion a candidate may be on `compare`."""

    floors: tuple[tuple[str, float], ...]
    compare: str
    margin: float
    min_test_per_class: int


@dataclass(frozen=True)
class Candidate:
    """What it reaches, by metric; test images by class; the number of its dataset version."""

    values: Mapping[str, float | None]
    support: Mapping[str, int]
    dataset_number: int


@dataclass(frozen=True)
class Champion:
    """The model that serves, and both models' values on the test images of the classes that both know."""

    version: int
    dataset_number: int
    values: Mapping[str, float | None]
    candidate_values: Mapping[str, float | None]
    images: int
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


def judge(limits: Limits, candidate: Candidate, champion: Champion | None) -> Judgement:
    """Hold a candidate against the limits. The first model of a project has no champion to be compared with."""
    enough = _enough_to_judge(limits, candidate)
    gates = [enough, *(_floor(metric, least, candidate) for metric, least in limits.floors)]
    if champion:
        gates += [_not_overtaken(candidate, champion), _not_worse(limits, champion)]
    failed = [gate for gate in gates if not gate.passed]
    if not enough.passed:
        return Judgement("cannot-be-judged", f"The candidate cannot be judged. {enough.sentence}", tuple(gates))
    if failed:
        many = f"{len(failed)} of {len(gates)} gates failed."
        return Judgement("failed", " ".join([many, *(gate.sentence for gate in failed)]), tuple(gates))
    end = f"the candidate may replace version {champion.version}" if champion else "the first model may serve"
    return Judgement("passed", f"All {len(gates)} gates passed: {end}.", tuple(gates))


def _enough_to_judge(limits: Limits, candidate: Candidate) -> Gate:
    least = limits.min_test_per_class
    label, fewest = min(candidate.support.items(), key=lambda item: item[1])
    few = [f"{count} of {name}" for name, count in candidate.support.items() if count < least]
    if few:
        sentence = (
            f"The test set has {_listed(few)}, but a judgement needs {least} images of each class: "
            "label more images drawn at random."
        )
    else:
        sentence = f"Every class has {least} test images or more; the fewest are {fewest} of {label}."
    return Gate("test set", not few, float(fewest), float(least), sentence)


def _floor(metric: str, least: float, candidate: Candidate) -> Gate:
    value, name = candidate.values.get(metric), name_of(metric)
    if value is None:
        return Gate(
            f"floor: {metric}", False, None, least, f"{name} cannot be computed: {_why_not(metric, candidate)}."
        )
    passed = value >= least - _TOLERANCE
    mine, floor = percents(value, least)
    how = "at or above" if passed else "below"
    return Gate(f"floor: {metric}", passed, value, least, f"{name} is {mine}, {how} the floor of {floor}.")


def _why_not(metric: str, candidate: Candidate) -> str:
    _, dot, label = metric.partition(".")
    if dot and label not in candidate.support:
        return f"the candidate does not know {label}"
    if dot:
        return f"the candidate never answers {label}"
    return "the test set lacks a class"


def _not_overtaken(candidate: Candidate, champion: Champion) -> Gate:
    mine, other = candidate.dataset_number, champion.dataset_number
    passed = mine >= other
    if passed:
        sentence = f"It was trained on dataset version {mine}, the champion on version {other}."
    else:
        sentence = f"It was overtaken: trained on dataset version {mine}, while the champion knows version {other}."
    return Gate("not overtaken", passed, float(mine), float(other), sentence)


def _not_worse(limits: Limits, champion: Champion) -> Gate:
    gate, name = f"champion: {limits.compare}", name_of(limits.compare)
    mine, other = champion.candidate_values.get(limits.compare), champion.values.get(limits.compare)
    where = f"on the same {champion.images} images{_of_both(champion)}"
    if other is None:
        sentence = f"{name} of the champion, version {champion.version}, cannot be computed {where}: nothing to beat."
        return Gate(gate, True, mine, None, sentence)
    least = max(0.0, other - limits.margin)
    if mine is None:
        return Gate(gate, False, None, least, f"{name} cannot be computed {where}; the champion's can.")
    passed = mine >= other - limits.margin - _TOLERANCE
    here, there = percents(mine, other)
    sentence = f"{name} is {here}, that of the champion, version {champion.version}, {there} {where}: "
    margin = points(limits.margin)
    if abs(mine - other) <= _TOLERANCE:
        sentence += "equally good."
    elif mine > other:
        sentence += f"better by {points(mine - other)}."
    elif passed:
        sentence += f"worse by {points(other - mine)}, within the margin of {margin}."
    else:
        sentence += f"worse by {points(other - mine)}, more than the margin of {margin}."
    return Gate(gate, passed, mine, least, sentence)


def _of_both(champion: Champion) -> str:
    unshared = []
    if champion.only_candidate_knows:
        unshared.append(f"the champion does not know {_listed(champion.only_candidate_knows)}")
    if champion.only_champion_knows:
        unshared.append(f"the candidate no longer knows {_listed(champion.only_champion_knows)}")
    return f" of the classes that both know ({'; '.join(unshared)})" if unshared else ""


def name_of(metric: str) -> str:
    """A metric as people say it."""
    kind, dot, label = metric.partition(".")
    return f"{kind.capitalize()} of {label}" if dot else _NAMES[metric]


def percents(one: float, other: float) -> tuple[str, str]:
    """Two shares as percentages, with as many digits as it takes to see that they differ."""
    for digits in (1, 2, 3):
        texts = _percent(one, digits), _percent(other, digits)
        if texts[0] != texts[1]:
            break
    return texts


def points(share: float) -> str:
    """A difference of shares in percentage points."""
    number = _trimmed(share * 100, 1 if share >= 0.001 or share == 0 else 3)
    return f"{number} {'point' if number == '1' else 'points'}"


def _percent(share: float, digits: int) -> str:
    return f"{_trimmed(share * 100, digits)} %"


def _trimmed(number: float, digits: int) -> str:
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
