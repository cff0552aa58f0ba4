"""Gates that look at the candidate alone."""

from services.evaluator.gates.shapes import TOLERANCE, Candidate, Gate, Limits
from services.evaluator.gates.words import images, listed, name_of, percent, percents, points, trimmed


def enough_to_judge(limits: Limits, candidate: Candidate) -> Gate:
    """Whether the test set has enough images of each class."""
    least = limits.min_test_per_class
    label, fewest = min(candidate.support.items(), key=lambda item: item[1])
    few = [f"{count} of {name}" for name, count in candidate.support.items() if count < least]
    if not any(candidate.support.values()):
        sentence = (
            f"The test set is empty, but a judgement needs {images(least)} of each class: label more images drawn at "
            "random, or raise data.split.test on the card."
        )
    elif few:
        sentence = (
            f"The test set has {listed(few)}, but a judgement needs {images(least)} of each class: "
            "label more images drawn at random."
        )
    else:
        sentence = f"Every class has {least} test images or more; the fewest are {fewest} of {label}."
    return Gate("test set", not few, float(fewest), float(least), sentence)


def guessing(candidate: Candidate) -> Gate:
    """Whether the candidate does better than whoever always answers the commonest class without looking.

    Accuracy is compared plainly, so that a small test set blocks nothing. Where the classes are very unequal, a useful
    model may lose accuracy to find the rare ones. Then recall averaged over the classes counts: it is 1/classes for
    whoever does not look, and the candidate has to be above that with its whole 95 % interval.
    """
    gate, accuracy = "better than guessing", candidate.values.get("accuracy")
    label, most = max(candidate.support.items(), key=lambda item: item[1])
    if accuracy is None:
        return Gate(gate, False, None, None, "Accuracy cannot be computed: the test set is empty.")
    share = most / sum(candidate.support.values())
    mine, blind = percents(accuracy, share)
    if accuracy > share + TOLERANCE:
        return Gate(gate, True, accuracy, share, f"Accuracy is {mine}; always answering {label} would reach {blind}.")
    recall, low, chance = candidate.values.get("macro_recall"), candidate.macro_recall_low, 1 / len(candidate.support)
    if recall is not None and low is not None and low > chance:
        sentence = (
            f"Accuracy is {mine}; always answering {label} would reach {blind}, but the candidate tells the classes "
            f"apart: recall averaged over them is {percent(recall)}, where guessing reaches {percent(chance)}."
        )
        return Gate(gate, True, accuracy, share, sentence)
    as_well = " as well" if accuracy >= share - TOLERANCE else ""
    sentence = (
        f"Accuracy is {mine}, and always answering {label} would reach {blind}{as_well}: it has not learnt to tell the "
        "classes apart. Are the labels right?"
    )
    return Gate(gate, False, accuracy, share, sentence)


def floor(metric: str, least: float, candidate: Candidate) -> Gate:
    """Whether a metric reaches its floor."""
    value, name = candidate.values.get(metric), name_of(metric)
    if value is None:
        sentence = f"{name} cannot be computed: {_why_not(metric, candidate)}."
        return Gate(f"floor: {metric}", False, None, least, sentence)
    passed = value >= least - TOLERANCE
    mine, limit = percents(value, least)
    how = "at or above" if passed else "below"
    return Gate(f"floor: {metric}", passed, value, least, f"{name} is {mine}, {how} the floor of {limit}.")


def _why_not(metric: str, candidate: Candidate) -> str:
    kind, dot, label = metric.partition(".")
    if dot and label not in candidate.support:
        return f"the candidate does not know {label}"
    if kind == "recall":
        return f"the test set has no image of {label}"
    if dot:
        return f"the candidate never answers {label}"
    return "the test set lacks a class"


def calibrated(most: float, candidate: Candidate) -> Gate:
    """Whether the candidate is about as sure as it is right."""
    gate, error = "calibration", candidate.calibration_error
    if error is None:
        return Gate(gate, False, None, most, "Calibration cannot be measured: the test set is empty.")
    passed = error <= most + TOLERANCE
    said = f"The candidate's confidence is {points(error)} away from the share that is right, on average"
    if passed:
        return Gate(gate, True, error, most, f"{said}, within the limit of {points(most)}.")
    sentence = f"{said}, more than the limit of {points(most)}: more validation images calibrate it better."
    return Gate(gate, False, error, most, sentence)


def small_enough(most_mb: float, candidate: Candidate) -> Gate:
    """Whether the model's file is small enough."""
    size = candidate.size_mb
    passed = size <= most_mb + TOLERANCE
    limit = f"the limit of {trimmed(most_mb, 2)} MB"
    how = f"within {limit}." if passed else f"over {limit}: choose a smaller backbone or image size."
    return Gate("size", passed, size, most_mb, f"The model's file has {trimmed(size, 2)} MB, {how}")
