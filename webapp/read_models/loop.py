"""The loop of each project, station by station: what happened there last, and what was refused there last.

A pure fold over (event, envelope). All that is kept is the newest fact of each type, so that the same comes out
whether every fact was heard, twice or in any order, or the stream was asked for the last one of each type.
"""

from dataclasses import dataclass
from datetime import datetime

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.dataset import DatasetRejected, DatasetRequested, DatasetVersioned
from contracts.events.deployment import DeploymentCompleted, DeploymentFailed, DeploymentStarted
from contracts.events.drift import DriftDetected
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed
from contracts.events.feedback import FeedbackGiven, FeedbackRejected
from contracts.events.image import ImageAdded, ImageRejected
from contracts.events.label import LabelDoubted, LabelSubmitted, LabelWithdrawn
from contracts.events.model import (
    ModelApprovalRequested,
    ModelApproved,
    ModelDemoted,
    ModelPromoted,
    ModelRegistered,
    ModelRejected,
)
from contracts.events.prediction import PredictionCompleted, PredictionFailed
from contracts.events.training import (
    TrainingCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingProgressed,
    TrainingRequested,
    TrainingStarted,
)
from webapp.read_models.telling import Tone, told

STATIONS: dict[str, tuple[type[Event], ...]] = {
    "Label": (ImageAdded, ImageRejected, LabelSubmitted, LabelWithdrawn, LabelDoubted, FeedbackGiven, FeedbackRejected),
    "Dataset": (DatasetRequested, DatasetVersioned, DatasetRejected),
    "Train": (
        TrainingRequested,
        TrainingStarted,
        TrainingProgressed,
        TrainingCompleted,
        TrainingFailed,
        TrainingCancelled,
    ),
    "Evaluate": (EvaluationCompleted, EvaluationFailed),
    "Register": (
        ModelRegistered,
        ModelApprovalRequested,
        ModelApproved,
        ModelRejected,
        ModelDemoted,
        ModelPromoted,
    ),
    "Deploy": (DeploymentStarted, DeploymentCompleted, DeploymentFailed),
    "Predict": (PredictionCompleted, PredictionFailed, DriftDetected),
}
LOOP_EVENTS = tuple(event for events in STATIONS.values() for event in events)

# Of two facts of one instant the one that ends the work is the newer.
_RANK = {TrainingStarted: 1, TrainingProgressed: 2, DeploymentStarted: 1, TrainingRequested: 0}
_ENDS = 3


@dataclass(frozen=True)
class Happening:
    """A fact as the page shows it. `event_id` is its ce-id, `turn` its correlation id; `refs` name what it is about."""

    name: str
    at: datetime
    words: str
    tone: Tone
    event_id: str
    turn: str
    refs: tuple[str, ...]


@dataclass(frozen=True)
class Station:
    """`last` is None where nothing happened yet, `refused` where nothing was refused or the last fact says it."""

    name: str
    last: Happening | None = None
    refused: Happening | None = None


class LoopFeed:
    """The newest fact of each type of each project."""

    def __init__(self) -> None:
        self._newest: dict[str, dict[type[Event], tuple[Event, Envelope]]] = {}

    def hear(self, event: Event, envelope: Envelope) -> None:
        """Take in one fact; other types than `LOOP_EVENTS` are passed over."""
        if not isinstance(event, LOOP_EVENTS):
            return
        newest = self._newest.setdefault(envelope.project, {})
        known = newest.get(type(event))
        if known is None or place(event, envelope) > place(*known):
            newest[type(event)] = (event, envelope)

    def stations(self, project: str) -> tuple[Station, ...]:
        """The stations of a project in the order of the loop."""
        newest = self._newest.get(project, {})
        return tuple(
            _station(name, [newest[type_] for type_ in types if type_ in newest]) for name, types in STATIONS.items()
        )


def _station(name: str, facts: list[tuple[Event, Envelope]]) -> Station:
    happenings = [_happening(*fact) for fact in sorted(facts, key=lambda fact: place(*fact))]
    if not happenings:
        return Station(name)
    refusals = [happening for happening in happenings[:-1] if happening.tone == "bad"]
    last = happenings[-1]
    return Station(name, last, refusals[-1] if refusals and last.tone != "bad" else None)


def place(event: Event, envelope: Envelope) -> tuple[datetime, int, int, str]:
    """Which of two facts is the newer."""
    return (envelope.time, _RANK.get(type(event), _ENDS), getattr(event, "done", 0), envelope.id)


def _happening(event: Event, envelope: Envelope) -> Happening:
    words, tone = told(event)
    return Happening(
        event.name(), envelope.time, words, tone, envelope.id, envelope.correlation_id, tuple(_refs(event))
    )


def _refs(event: Event) -> list[str]:
    """What a fact is about, by the ids that people look for."""
    version = getattr(event, "version", None)
    about = version or getattr(event, "plan", None)
    found = {
        "dataset": getattr(event, "dataset_id", None) or getattr(about, "dataset_id", None),
        "run": getattr(event, "run_id", None) or getattr(version, "run_id", None),
        "prediction": getattr(event, "prediction_id", None),
        "image": getattr(event, "image_sha256", None) or getattr(getattr(event, "image", None), "sha256", None),
    }
    return [f"{name} {value}" for name, value in found.items() if value]
