"""The worst slice: no camera, line or shift may be left behind by a good average."""

from services.evaluator.gates.shapes import TOLERANCE, Candidate, Gate, SlicesLimit
from services.evaluator.gates.words import images, listed, name_within, percents


def worst_slice(limit: SlicesLimit, candidate: Candidate) -> Gate:
    """Whether the worst slice that has enough images reaches the limit.

    A key that no test image has fails: what is asked for and cannot be measured is not passed. Slices that are all too
    small fail nothing: they grow with the labels.
    """
    gate = f"slices: {limit.metric}"
    found = candidate.slices
    missing = [key for key in limit.keys if key not in {one.key for one in found}]
    if missing or not found:
        what = listed(missing) if missing else "metadata"
        sentence = (
            f"There are no slices by {what}: no test image says it, or each says something else. Give it with the "
            "images, or take it off the card."
        )
        return Gate(gate, False, None, limit.at_least, sentence)
    large = [one for one in found if one.images >= limit.min_images]
    deciding = [(one.score.value, one) for one in large if one.score.value is not None]
    lacking = len(large) - len(deciding)
    if not deciding and lacking:
        sentence = f"No slice of {images(limit.min_images)} or more has every class, so none decides yet."
        return Gate(gate, True, None, limit.at_least, sentence)
    if not deciding:
        sentence = f"No slice has {images(limit.min_images)} that count for it, so none decides yet."
        return Gate(gate, True, None, limit.at_least, sentence)
    value, worst = min(deciding, key=lambda item: item[0])
    passed = value >= limit.at_least - TOLERANCE
    mine, least = percents(value, limit.at_least)
    how = "at or above" if passed else "below"
    which = f"The worst of {len(deciding)} slices is" if len(deciding) > 1 else "The only slice that decides is"
    sentence = (
        f"{which} {worst.key} = {worst.value}: {name_within(limit.metric)} is {mine} on {images(worst.images)}, {how} "
        f"the limit of {least}.{_idle(len(found) - len(large), f'fewer than {images(limit.min_images)}')}"
        f"{_idle(lacking, 'no image of some class')}"
    )
    return Gate(gate, passed, value, limit.at_least, sentence)


def _idle(count: int, what: str) -> str:
    if not count:
        return ""
    which = "1 slice has" if count == 1 else f"{count} slices have"
    return f" {which} {what} and {'does' if count == 1 else 'do'} not decide."
