"""The predictions of late, and what people said about them. Bounded: old ones are forgotten, counts are not."""

from bisect import insort
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from contracts.envelope import Envelope
from contracts.events.base import Event, ImageRef
from contracts.events.feedback import FeedbackGiven, FeedbackRejected
from contracts.events.prediction import PredictionCompleted, PredictionFailed
from contracts.events.project import ProjectDefined
from webapp.read_models.turn import Step, Turn

V = TypeVar("V")

# How many ids are remembered for each prediction kept, to tell a repetition from something new.
_IDS_PER_KEPT = 10


@dataclass(frozen=True)
class Prediction:
    """One answer. `at` is when it was said."""

    id: str
    at: datetime
    image: ImageRef
    heat_map_uri: str | None
    label: str
    confidence: float
    classes: tuple[str, ...]
    model_version: int
    node: str
    total_ms: float

    @property
    def place(self) -> tuple[datetime, str]:
        """Orders predictions by time; two of one instant by id."""
        return (self.at, self.id)


@dataclass(frozen=True)
class Feedback:
    """The last word of a person about a prediction, and why it was refused where it was."""

    envelope: Envelope
    predicted: str
    correct: str
    given_by: str
    rejection: str | None = None

    @property
    def is_correction(self) -> bool:
        """Whether the answer was wrong."""
        return self.predicted != self.correct


@dataclass(frozen=True)
class Numbers:
    """Counts over all that was heard, more than is kept."""

    predictions: int = 0
    failed: int = 0
    checked: int = 0
    corrected: int = 0
    by_class: tuple[tuple[str, int], ...] = ()

    @property
    def correction_rate(self) -> float | None:
        """Share of the checked answers that were wrong; None before the first was checked."""
        return self.corrected / self.checked if self.checked else None


@dataclass(frozen=True)
class LiveView:
    """A project as the page shows it: a copy, which later events do not change. Predictions come newest first."""

    classes: tuple[str, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    feedback: Mapping[str, Feedback] = field(default_factory=dict)
    numbers: Numbers = Numbers()
    answering_version: int | None = None
    last_failure: str | None = None
    turn: tuple[Step, ...] = ()


class LiveFeed:
    """Every project's predictions, feedback and loop state. Events may come twice and in any order."""

    def __init__(self, kept: int = 500) -> None:
        self._kept = kept
        self._projects: dict[str, _Project] = {}

    def hear(self, event: Event, envelope: Envelope) -> None:
        """Take in one event; types that no page shows are passed over."""
        project = self._projects.get(envelope.project)
        if project is None:
            project = self._projects[envelope.project] = _Project(self._kept)
        project.hear(event, envelope)

    def view(self, project: str) -> LiveView:
        """The project now; an empty view of one that nothing was heard of."""
        known = self._projects.get(project)
        return known.view() if known else LiveView()

    def feedback(self, project: str, prediction_id: str) -> Feedback | None:
        """The last word about a prediction."""
        known = self._projects.get(project)
        return known.feedback(prediction_id) if known else None


class _Project:
    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._predictions: list[Prediction] = []
        self._feedback: OrderedDict[str, Feedback] = OrderedDict()
        self._rejections: OrderedDict[str, tuple[FeedbackRejected, Envelope]] = OrderedDict()
        self._heard: OrderedDict[str, None] = OrderedDict()
        self._numbers = Numbers()
        self._by_class: Counter[str] = Counter()
        self._card: tuple[datetime, tuple[str, ...]] | None = None
        self._last_failure: tuple[datetime, str] | None = None
        self._turn = Turn()

    def hear(self, event: Event, envelope: Envelope) -> None:
        match event:
            case ProjectDefined():
                if self._card is None or envelope.time >= self._card[0]:
                    self._card = (envelope.time, event.card.data.classes)
            case PredictionCompleted() if self._is_new(event.prediction_id):
                self._answered(event, envelope)
            case PredictionFailed() if self._is_new(event.prediction_id):
                self._numbers = replace(self._numbers, failed=self._numbers.failed + 1)
                if self._last_failure is None or envelope.time >= self._last_failure[0]:
                    self._last_failure = (envelope.time, event.reason)
            case FeedbackGiven():
                self._given(event, envelope)
            case FeedbackRejected():
                known = self._rejections.get(event.prediction_id)
                if known is None or envelope.time >= known[1].time:
                    self._remember(self._rejections, event.prediction_id, (event, envelope))
            case _:
                self._turn.hear(event, envelope)

    def view(self) -> LiveView:
        newest_first = tuple(reversed(self._predictions))
        shown = {prediction.id for prediction in newest_first}
        return LiveView(
            classes=self._card[1] if self._card else (newest_first[0].classes if newest_first else ()),
            predictions=newest_first,
            feedback={id_: word for id_ in shown if (word := self.feedback(id_))},
            numbers=replace(self._numbers, by_class=tuple(self._by_class.most_common())),
            answering_version=newest_first[0].model_version if newest_first else None,
            last_failure=self._last_failure[1] if self._last_failure else None,
            turn=self._turn.steps(),
        )

    def feedback(self, prediction_id: str) -> Feedback | None:
        """The last word about a prediction; with the reason where that very word was refused."""
        given, refused = self._feedback.get(prediction_id), self._rejections.get(prediction_id)
        if given is None or refused is None:
            return given
        event, envelope = refused
        if envelope.causation_id is None:
            about_it = envelope.time >= given.envelope.time
        else:
            about_it = envelope.causation_id == given.envelope.id
        return replace(given, rejection=event.reason) if about_it else given

    def _is_new(self, prediction_id: str) -> bool:
        if prediction_id in self._heard:
            return False
        self._remember(self._heard, prediction_id, None)
        return True

    def _answered(self, event: PredictionCompleted, envelope: Envelope) -> None:
        self._numbers = replace(self._numbers, predictions=self._numbers.predictions + 1)
        self._by_class[event.label] += 1
        prediction = Prediction(
            id=event.prediction_id,
            at=envelope.time,
            image=event.image,
            heat_map_uri=event.heat_map.uri if event.heat_map else None,
            label=event.label,
            confidence=event.confidence,
            classes=event.classes,
            model_version=event.model_version,
            node=event.node,
            total_ms=event.timings.total_ms,
        )
        insort(self._predictions, prediction, key=lambda kept: kept.place)
        del self._predictions[: -self._kept]

    def _given(self, event: FeedbackGiven, envelope: Envelope) -> None:
        known = self._feedback.get(event.prediction_id)
        if known and (known.envelope.time, known.envelope.id) >= (envelope.time, envelope.id):
            return
        given = Feedback(envelope, event.predicted, event.correct, event.given_by)
        self._numbers = replace(
            self._numbers,
            checked=self._numbers.checked + (0 if known else 1),
            corrected=self._numbers.corrected + int(given.is_correction) - int(known.is_correction if known else False),
        )
        self._remember(self._feedback, event.prediction_id, given)

    def _remember(self, memory: OrderedDict[str, V], key: str, value: V) -> None:
        memory[key] = value
        memory.move_to_end(key)
        while len(memory) > self._kept * _IDS_PER_KEPT:
            memory.popitem(last=False)
