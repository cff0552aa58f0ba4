"""Numbers and names as people say them."""

from collections.abc import Sequence

_NAMES = {
    "accuracy": "Accuracy",
    "macro_recall": "Recall averaged over the classes",
    "macro_f1": "F1 averaged over the classes",
    "roc_auc": "Area under the ROC curve",
}


def name_of(metric: str) -> str:
    """A metric as people say it."""
    kind, dot, label = metric.partition(".")
    return f"{kind.capitalize()} of {label}" if dot else _NAMES[metric]


def name_within(metric: str) -> str:
    """A metric within a sentence."""
    name = name_of(metric)
    return name if name.startswith("F1") else f"{name[0].lower()}{name[1:]}"


def percent(share: float) -> str:
    """A share as a percentage, to a tenth."""
    return f"{trimmed(share * 100, 1)} %"


def percents(one: float, other: float) -> tuple[str, str]:
    """Two shares as percentages, with as many digits as it takes to see that they differ."""
    for digits in (1, 2, 3):
        texts = f"{trimmed(one * 100, digits)} %", f"{trimmed(other * 100, digits)} %"
        if texts[0] != texts[1]:
            break
    return texts


def points(share: float) -> str:
    """A difference of shares in percentage points."""
    number = trimmed(share * 100, 1 if share >= 0.001 or share == 0 else 3)
    return f"{number} {'point' if number == '1' else 'points'}"


def p_value(p: float) -> str:
    """As it is printed: two digits that count, and not below a thousandth."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def images(count: int, of: str = "") -> str:
    """So many images, or so many images of a class."""
    return f"{count:,} {'image' if count == 1 else 'images'}{f' of {of}' if of else ''}"


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def trimmed(number: float, digits: int) -> str:
    """So many digits behind the point at most."""
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
