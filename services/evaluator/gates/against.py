"""Gates that hold the candidate against the champion, on the same images."""

from services.evaluator.comparison import Comparison
from services.evaluator.gates.shapes import TOLERANCE, Candidate, Champion, Gate, Limits
from services.evaluator.gates.words import images, listed, name_of, name_within, p_value, percents, points, trimmed


def not_overtaken(candidate: Candidate, champion: Champion) -> Gate:
    """Whether the candidate knows a dataset as new as the champion's (ADR 0006)."""
    mine, other = candidate.dataset_number, champion.dataset_number
    passed = mine >= other
    if passed:
        sentence = f"It was trained on dataset version {mine}, the champion on version {other}."
    else:
        sentence = f"It was overtaken: trained on dataset version {mine}, while the champion knows version {other}."
    return Gate("not overtaken", passed, float(mine), float(other), sentence)


def not_worse(limits: Limits, champion: Champion) -> Gate:
    """Whether the candidate is better by `gain`, or where the card has none, not worse by more than `margin`."""
    gate, name = f"champion: {limits.compare}", name_of(limits.compare)
    mine, other = champion.candidate_values.get(limits.compare), champion.values.get(limits.compare)
    where = f"on the same {images(champion.images)}{_of_both(champion)}"
    if other is None:
        sentence = f"{name} of the champion, version {champion.version}, cannot be computed {where}: nothing to beat."
        return Gate(gate, True, mine, None, sentence)
    asked = -limits.margin if limits.gain is None else limits.gain
    least = max(0.0, other + asked)
    if mine is None:
        return Gate(gate, False, None, least, f"{name} cannot be computed {where}; the champion's can.")
    passed = mine - other >= asked - TOLERANCE
    here, there = percents(mine, other)
    sentence = (
        f"{name} is {here}, that of the champion, version {champion.version}, {there} {where}: "
        f"{_apart(mine - other)}{_certainty(champion.comparison)}{_against_the_limit(limits, mine - other, passed)}."
    )
    return Gate(gate, passed, mine, least, sentence)


def _apart(difference: float) -> str:
    if abs(difference) <= TOLERANCE:
        return "equally good"
    return f"{'better' if difference > 0 else 'worse'} by {points(abs(difference))}"


def _certainty(comparison: Comparison | None) -> str:
    """How far chance may have moved it."""
    if comparison is None or comparison.low is None or comparison.high is None or comparison.p_value is None:
        return ""
    low, high = (_signed(share) for share in (comparison.low, comparison.high))
    return f" (95 % interval {low} to {high} points, {p_value(comparison.p_value)})"


def _signed(share: float) -> str:
    text = trimmed(share * 100, 1)
    if text in ("0", "-0"):
        return "0"
    return text if share < 0 else f"+{text}"


def _against_the_limit(limits: Limits, difference: float, passed: bool) -> str:
    if limits.gain:
        return f", {'at least' if passed else 'less than'} the {points(limits.gain)} that the card asks for"
    if limits.gain is not None:
        return "" if passed else ", where the card asks for no worse"
    if difference >= -TOLERANCE:
        return ""
    return f", {'within' if passed else 'more than'} the margin of {points(limits.margin)}"


def significant(most: float, compare: str, champion: Champion) -> Gate:
    """Whether the candidate is better by a paired test."""
    gate, comparison = f"significance: {compare}", champion.comparison
    if comparison is None or comparison.p_value is None:
        if champion.values.get(compare) is None:
            return Gate(gate, True, None, most, "There is nothing of the champion to test the candidate against.")
        unknown = champion.candidate_values.get(compare) is None
        why = f"its {name_within(compare)} cannot be computed" if unknown else "a class has a single test image"
        return Gate(gate, False, None, most, f"Whether the candidate is better cannot be tested: {why}.")
    p = comparison.p_value
    if comparison.test == "mcnemar":
        test, counted = (
            "McNemar's test",
            (
                f"it alone is right on {images(comparison.only_candidate_right)}, the champion alone on "
                f"{comparison.only_champion_right:,}"
            ),
        )
    else:
        test, counted = "the paired bootstrap", f"{name_within(compare)} is {_apart(comparison.difference)}"
    if comparison.difference <= TOLERANCE:
        return Gate(gate, False, p, most, f"The candidate is not better than the champion: {counted}.")
    if p <= most:
        return Gate(
            gate, True, p, most, f"The candidate is better, and hardly by luck: {counted} ({test}, {p_value(p)})."
        )
    sentence = (
        f"The candidate may be better by luck: {counted} ({test}, {p_value(p)}, where the card asks for {most:g}). "
        "A larger test set could tell."
    )
    return Gate(gate, False, p, most, sentence)


def _of_both(champion: Champion) -> str:
    unshared = []
    if champion.only_candidate_knows:
        unshared.append(f"the champion does not know {listed(champion.only_candidate_knows)}")
    if champion.only_champion_knows:
        unshared.append(f"the candidate no longer knows {listed(champion.only_champion_knows)}")
    return f" of the classes that both know ({'; '.join(unshared)})" if unshared else ""
