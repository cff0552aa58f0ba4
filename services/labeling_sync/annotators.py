"""What several people said about one image: which label counts, and how far they agree. Pure functions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from services.labeling_sync.labels import Annotation

Rule = Literal["last", "majority", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """On the images that two or more people labelled. `raw` is in 0..1, `kappa` in -1..1."""

    images: int
    annotators: int
    raw: float
    kappa: float | None


def opinions(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Of each person the latest annotation that counts, in the order in which they were given."""
    latest: dict[str, Annotation] = {}
    for one in sorted((one for one in annotations if one.counts), key=lambda one: (one.updated_at, one.id)):
        latest.pop(one.annotator, None)
        latest[one.annotator] = one
    return list(latest.values())


def resolved(given: Sequence[Annotation], rule: Rule) -> Annotation | None:
    """Of the opinions the one that counts; None where the rule is agreement and there is none.

    In a majority that is shared by several classes the one of them that was named last counts.
    """
    if rule == "last" or not given:
        return given[-1] if given else None
    votes = Counter(one.label for one in given)
    if rule == "agreement":
        return given[-1] if len(votes) == 1 else None
    most = max(votes.values())
    return next(one for one in reversed(given) if votes[one.label] == most)


def agreement_of(images: Iterable[Sequence[Annotation]]) -> Agreement | None:
    """Agreement over the opinions on each image; None where no image has two.

    Fleiss' kappa (Fleiss 1971, Psychological Bulletin 76:378), with as many opinions on an image as there are (Fleiss,
    Levin and Paik 2003, Statistical Methods for Rates and Proportions, section 18.3). It is None where every label is
    of one class, so that chance alone would agree on all.
    """
    several = [given for given in images if len(given) > 1]
    if not several:
        return None
    total: Counter[str | None] = Counter()
    raw = 0.0
    for given in several:
        votes = Counter(one.label for one in given)
        total.update(votes)
        pairs = len(given) * (len(given) - 1)
        raw += sum(count * (count - 1) for count in votes.values()) / pairs / len(several)
    raw = min(1.0, raw)
    chance = sum((count / total.total()) ** 2 for count in total.values())
    kappa = (raw - chance) / (1 - chance) if len(total) > 1 else None
    people = {one.annotator for given in several for one in given}
    return Agreement(len(several), len(people), raw, kappa)
