"""From a full window to what was seen of each kind of drift, in numbers and in a sentence. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from contracts.envelope import Envelope
from contracts.events.base import ClassName, ImageRef
from contracts.events.drift import DriftDetected, DriftedPicture, DriftKind, DriftWindow
from contracts.project import Watch
from services.chassis.sketches import NUMBERS, unsketched
from services.evaluator.drift import Answers, Finding, accuracy, classes, confidence, inputs
from services.evaluator.watched import Look, Reference

MOST_PICTURES = 12


@dataclass(frozen=True)
class Seen:
    """One answer of a window, or one that a person judged: then `right` says how."""

    seq: int
    envelope: Envelope
    prediction_id: str
    image: ImageRef
    label: ClassName
    confidence: float = 0.0
    sketch: str | None = None
    right: bool = True

    @property
    def at(self) -> datetime:
        """When it was said."""
        return self.envelope.time


Looked = Mapping[DriftKind, tuple[Look, DriftDetected]]


def kinds(policy: Watch) -> tuple[DriftKind, ...]:
    """What the card wants watched."""
    limits: dict[DriftKind, float | None] = {
        "inputs": policy.inputs,
        "classes": policy.classes,
        "confidence": policy.confidence,
        "accuracy": policy.accuracy,
    }
    return tuple(kind for kind, limit in limits.items() if limit is not None)


def alpha(policy: Watch) -> float:
    """How unlikely a change must be by chance: a window's allowed false alarms, shared by all kinds (Bonferroni)."""
    return 1 / policy.one_false_alarm_in / max(1, len(kinds(policy)))


def reference_of(version: int, seen: Sequence[Seen]) -> Reference:
    """What later windows are compared with."""
    return Reference(
        version=version,
        sketches=tuple(one.sketch for one in seen),
        labels=tuple(one.label for one in seen),
        confidence=tuple(one.confidence for one in seen),
    )


def look_at_answers(reference: Reference, seen: Sequence[Seen], policy: Watch, now: datetime) -> Looked:
    """The window beside the reference, each kind that is watched."""
    before = _answers(reference.sketches, reference.labels, reference.confidence)
    after = _answers([one.sketch for one in seen], [one.label for one in seen], [one.confidence for one in seen])
    seed, level = seen[-1].seq, alpha(policy)
    facts = _Facts(reference.version, seen, len(before), level, now)
    looked: dict[DriftKind, tuple[Look, DriftDetected]] = {}
    if policy.inputs is not None and (found := inputs(before, after, level, seed)):
        sentence = (
            f"The last {len(seen)} pictures look unlike the first {len(before)} that version {reference.version} "
            f"answered: distance {found.statistic:.3f}, limit {policy.inputs:.3f}. "
            "Look at those that differ most: a new lamp, camera or product?"
        )
        looked["inputs"] = facts.of("inputs", found, policy.inputs, sentence)
    if policy.classes is not None:
        found = classes(before, after, level, seed)
        looked["classes"] = facts.of("classes", found, policy.classes, _mix(before, after, reference.version))
    if policy.confidence is not None:
        found = confidence(before, after)
        looked["confidence"] = facts.of(
            "confidence", found, policy.confidence, _sureness(before, after, reference.version)
        )
    return looked


def look_at_judged(version: int, seen: Sequence[Seen], policy: Watch, now: datetime) -> Looked:
    """How many of the answers that people judged are right."""
    floor = policy.accuracy
    right = sum(one.right for one in seen)
    # Who only corrects says nothing of how often the model is right.
    if floor is None or not right:
        return {}
    level = alpha(policy)
    found = accuracy(right, len(seen), floor)
    sentence = (
        f"Of {len(seen)} answers of version {version} that people judged {right} were right: {found.statistic:.0%} "
        f"(95 % interval {found.low:.0%} to {found.high:.0%}), and the card wants {floor:.0%}. "
        "People choose what they judge, so that it may be otherwise for the rest."
    )
    wrong_first = sorted(range(len(seen)), key=lambda place: (seen[place].right, -place))
    finding = Finding(found.statistic, found.p_value, tuple(place for place in wrong_first if not seen[place].right))
    return {"accuracy": _Facts(version, seen, 0, level, now).of("accuracy", finding, floor, sentence)}


@dataclass(frozen=True)
class _Facts:
    """What all findings of one window have in common."""

    version: int
    seen: Sequence[Seen]
    reference: int
    level: float
    now: datetime

    def of(self, kind: DriftKind, found: Finding, limit: float, sentence: str) -> tuple[Look, DriftDetected]:
        """What was seen, and the fact that is said where it begins to be drift."""
        numbers = {
            "kind": kind,
            "statistic": found.statistic,
            "threshold": limit,
            "p_value": found.p_value,
            "p_threshold": self.level,
            "sentence": sentence,
        }
        worst = [self.seen[place] for place in found.order[:MOST_PICTURES]]
        fact = DriftDetected.model_validate(
            {
                **numbers,
                "model_version": self.version,
                "window": DriftWindow(began_at=self.seen[0].at, ended_at=self.seen[-1].at, count=len(self.seen)),
                "reference_count": self.reference,
                "pictures": [
                    DriftedPicture(prediction_id=one.prediction_id, image=one.image, label=one.label) for one in worst
                ],
            }
        )
        return Look.model_validate({**numbers, "count": len(self.seen), "at": self.now}), fact


def _answers(sketches: Sequence[str | None], labels: Sequence[str], confidence: Sequence[float]) -> Answers:
    return Answers(np.stack([_numbers(sketch) for sketch in sketches]), tuple(labels), np.array(confidence, np.float64))


def _numbers(sketch: str | None) -> NDArray[np.float32]:
    """Of a sketch that is none, too, as whoever may say predictions can send it."""
    try:
        return unsketched(sketch or "")
    except ValueError:
        return np.full(NUMBERS, np.nan, np.float32)


def _mix(before: Answers, after: Answers, version: int) -> str:
    def share(answers: Answers, label: str) -> float:
        return answers.labels.count(label) / len(answers)

    names = sorted({*before.labels, *after.labels})
    most = max(names, key=lambda label: share(after, label) - share(before, label))
    return (
        f"Version {version} answers {most} for {share(after, most):.0%} of the last {len(after)} pictures; "
        f"of its first {len(before)} it was {share(before, most):.0%}. Is there more of it, or is the model mistaken?"
    )


def _sureness(before: Answers, after: Answers, version: int) -> str:
    first, last = float(np.median(before.confidence)), float(np.median(after.confidence))
    return (
        f"Version {version} is {'less sure' if last < first else 'surer'} than at first: "
        f"half of the last {len(after)} answers are at least {last:.0%} sure, of its first {len(before)} "
        f"it was {first:.0%}. Label some of the pictures to see whether it is right."
    )
