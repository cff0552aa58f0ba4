"""How much of a class the candidate may miss, with a confidence: the question of who lets the bad parts through."""

import math

from scipy import stats

from services.evaluator.gates.shapes import TOLERANCE, Candidate, Gate, MissesLimit
from services.evaluator.gates.words import images, percents, trimmed


def few_missed(limit: MissesLimit, candidate: Candidate) -> Gate:
    """Whether the upper bound of the miss rate stays within the limit."""
    gate, label, of = f"misses: {limit.label}", limit.label, candidate.support.get(limit.label)
    if not of:
        why = f"the test set has no image of {label}" if of == 0 else f"the candidate does not know {label}"
        return Gate(gate, False, None, limit.at_most, f"What it misses of {label} cannot be told: {why}.")
    missed = of - candidate.right[label]
    bound = upper_bound(missed, of, limit.confidence)
    passed = bound <= limit.at_most + TOLERANCE
    mine, most = percents(bound, limit.at_most)
    sure = f"{trimmed(limit.confidence * 100, 2)} % confidence"
    counted = f"{missed or 'none'} of {images(of, label)}"
    if passed:
        sentence = (
            f"The candidate misses {counted}: with {sure} at most {mine} in the long run, within the limit of {most}."
        )
        return Gate(gate, True, bound, limit.at_most, sentence)
    sentence = (
        f"The candidate misses {counted}: with {sure} that may be {mine} in the long run, over the limit of {most}."
    )
    needed = images_needed(limit)
    if of < needed:
        sentence += f" Even with none missed it takes {images(needed, label)} to show that."
    elif missed / of <= limit.at_most:
        sentence += " More test images could show that it is less."
    return Gate(gate, False, bound, limit.at_most, sentence)


def upper_bound(missed: int, of: int, confidence: float) -> float:
    """One-sided upper bound of a proportion by Clopper and Pearson (1934), exact; `of` is 1 or more."""
    return 1.0 if missed == of else float(stats.beta.ppf(confidence, missed + 1, of - missed))


def images_needed(limit: MissesLimit) -> int:
    """The fewest images of a class with which the limit can be shown, when none of them is missed."""
    return math.ceil(math.log(1 - limit.confidence) / math.log(1 - limit.at_most) - TOLERANCE)
