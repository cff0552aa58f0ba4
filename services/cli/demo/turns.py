"""Turns of the loop, read from the facts that were said: stages with their seconds, and the loop's own overhead."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.deployment import DeploymentCompleted, DeploymentFailed
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed
from contracts.events.model import ModelPromoted
from contracts.events.training import TrainingCancelled, TrainingFailed, TrainingProgressed
from contracts.telemetry import WORK_SPANS
from services.chassis.traces import StoredSpan, covered_s

Said = tuple[Event, Envelope]

_LAST = (ModelPromoted, TrainingFailed, TrainingCancelled, EvaluationFailed, DeploymentFailed)


@dataclass
class Turn:
    """All facts of one correlation that began with a dataset version, in the order in which they were said."""

    said: list[Said] = field(default_factory=list)

    @property
    def correlation_id(self) -> str:
        """What the facts of the turn share."""
        return self.said[0][1].correlation_id

    @property
    def trace_id(self) -> str:
        """The trace that the dataset version was said in."""
        traceparent = self.said[0][1].traceparent or ""
        return traceparent.split("-")[1] if traceparent else ""

    def first(self, event_type: type[Event]) -> Any | None:
        """The first event of a type in the turn."""
        return next((event for event, _ in self.said if isinstance(event, event_type)), None)

    @property
    def is_over(self) -> bool:
        """Whether the turn has come to its end, good or bad."""
        judged = self.first(EvaluationCompleted)
        refused = judged is not None and judged.verdict != "passed"
        return refused or any(isinstance(event, _LAST) for event, _ in self.said)

    def stages(self) -> list[dict[str, Any]]:
        """Each fact but progress, with its time and the seconds since the one before."""
        steps = [(event, envelope.time) for event, envelope in self.said if not isinstance(event, TrainingProgressed)]
        before = [steps[0][1], *(at for _, at in steps)]
        return [
            {"event": event.TYPE, "at": at.isoformat(), "seconds": round((at - since).total_seconds(), 3)}
            for (event, at), since in zip(steps, before, strict=False)
        ]

    def overhead_s(self, spans: Iterable[StoredSpan]) -> float | None:
        """Seconds from the dataset version to the end of its deployment outside the work itself.

        None when nothing was deployed.
        """
        end = self._at(DeploymentCompleted)
        if end is None:
            return None
        start_s, end_s = self.said[0][1].time.timestamp(), end.timestamp()
        mine = [span for span in spans if span.trace_id == self.trace_id]
        return end_s - start_s - covered_s(mine, WORK_SPANS, start_s, end_s)

    def _at(self, event_type: type[Event]) -> datetime | None:
        return next((envelope.time for event, envelope in self.said if isinstance(event, event_type)), None)


def turns_of(said: Iterable[Said]) -> list[Turn]:
    """Group facts into turns, in the order in which their dataset versions were said."""
    turns: dict[str, Turn] = {}
    for event, envelope in said:
        if isinstance(event, DatasetVersioned):
            turns.setdefault(envelope.correlation_id, Turn())
        if envelope.correlation_id in turns:
            turns[envelope.correlation_id].said.append((event, envelope))
    return list(turns.values())
