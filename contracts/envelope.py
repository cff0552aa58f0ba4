"""CloudEvents 1.0 in NATS binary mode: what surrounds an event on the wire, and how ids follow from causes.

Subject and body are enough: a missing type and project come from the subject, a missing id from stream and sequence.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from contracts.events.base import PROJECT_PATTERN, TYPE_PATTERN, Event

MAX_HOPS = 32
SCHEDULE_SOURCE = "/schedules/"
# What a schedule must not repeat each time it fires.
_OF_ONE_MESSAGE = (
    "ce-id", "ce-time", "ce-correlationid", "ce-causationid", "ce-hops", "traceparent", "tracestate",
)  # fmt: skip
NAMESPACE = uuid.UUID("6c6f6f70-6c69-5e65-8000-000000000001")
SUBJECT_PATTERN = re.compile(rf"loopline\.({PROJECT_PATTERN})\.([a-z-]+)\.([a-z-]+)")
# They become headers again, keys of claims and text in logs.
_ID_PATTERN = re.compile(r"[\x21-\x7e]{1,200}")
_SOURCE_PATTERN = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_HOPS_PATTERN = re.compile(r"[0-9]{1,9}")
_QUOTED_CHARS = 80


class NotAnEvent(ValueError):
    """The message cannot be understood; the text says why."""


def derive_id(*parts: str) -> str:
    """The same parts give the same id (UUID version 5), so that saying a fact twice is saying it once."""
    return str(uuid.uuid5(NAMESPACE, "|".join(parts)))


def starts_turn(event_type: str) -> bool:
    """Whether an event begins a turn of the loop, and with it a correlation of its own."""
    return event_type.startswith("loopline.dataset.versioned.")


@dataclass(frozen=True)
class Envelope:
    """Who said what about which project, when, and because of what.

    `hops` counts causes; over `MAX_HOPS` the chain is a loop that feeds itself and is refused.
    """

    id: str
    type: str
    source: str
    project: str
    time: datetime
    correlation_id: str
    causation_id: str | None = None
    hops: int = 0
    traceparent: str | None = None
    tracestate: str | None = None

    @classmethod
    def first(cls, event: Event, *, project: str, source: str, id: str, time: datetime) -> Self:
        """Of an event that nothing on the bus caused."""
        return cls(id=id, type=event.TYPE, source=source, project=project, time=time, correlation_id=id)

    @classmethod
    def caused(cls, event: Event, *, by: "Envelope", source: str, time: datetime, project: str | None = None) -> Self:
        """Of a fact that `by` caused: its id follows from the cause, the type and the event's natural key.

        An event that starts a turn has an id from project and natural key alone, so that whoever freezes the same
        labels for whatever reason says the same fact.
        """
        project = project or by.project
        if starts_turn(event.TYPE):
            id = derive_id(project, event.TYPE, event.natural_key)
            correlation_id = id
        else:
            id = derive_id(by.id, event.TYPE, event.natural_key)
            correlation_id = by.correlation_id
        return cls(
            id=id,
            type=event.TYPE,
            source=source,
            project=project,
            time=time,
            correlation_id=correlation_id,
            causation_id=by.id,
            hops=by.hops + 1,
        )

    def traced(self, traceparent: str | None, tracestate: str | None) -> Self:
        """The same envelope inside a trace."""
        return replace(self, traceparent=traceparent, tracestate=tracestate)

    @property
    def schedule(self) -> str:
        """The name of the schedule that said it, "" when none did."""
        return self.source.removeprefix(SCHEDULE_SOURCE) if self.source.startswith(SCHEDULE_SOURCE) else ""

    @property
    def subject(self) -> str:
        """Where it is said."""
        return f"loopline.{self.project}.{self.type.removeprefix('loopline.').rsplit('.', 1)[0]}"

    def headers(self) -> dict[str, str]:
        """As NATS headers."""
        headers = {
            "ce-specversion": "1.0",
            "ce-id": self.id,
            "ce-type": self.type,
            "ce-source": self.source,
            "ce-subject": self.project,
            "ce-time": self.time.astimezone(UTC).isoformat(timespec="microseconds"),
            "ce-dataschema": f"/contracts/schemas/{self.type}.json",
            "ce-correlationid": self.correlation_id,
            "ce-hops": str(self.hops),
            "Nats-Msg-Id": self.id,
            "content-type": "application/json",
        }
        if self.causation_id:
            headers["ce-causationid"] = self.causation_id
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        if self.tracestate:
            headers["tracestate"] = self.tracestate
        return headers

    @classmethod
    def read(
        cls,
        subject: str,
        headers: Mapping[str, str] | None,
        *,
        stored_at: datetime,
        position: str,
    ) -> Self:
        """From a message. `position` (`<stream>:<sequence>`) and the server's `stored_at` stand in for what is missing.

        Raises:
            NotAnEvent: the subject, the type or a header is not of the form that `contracts/README.md` describes.
        """
        match = SUBJECT_PATTERN.fullmatch(subject)
        if not match:
            raise NotAnEvent(f"subject {_quoted(subject)} is not loopline.<project>.<entity>.<verb>")
        project, entity, verb = match.group(1), match.group(3), match.group(4)
        given = {name.lower(): value for name, value in (headers or {}).items()}
        type_ = given.get("ce-type") or f"loopline.{entity}.{verb}.v1"
        parts = TYPE_PATTERN.fullmatch(type_)
        if not parts or (parts.group(1), parts.group(2)) != (entity, verb):
            raise NotAnEvent(f"ce-type does not belong on the subject {_quoted(subject)}")
        if given.get("ce-subject", project) != project:
            raise NotAnEvent(f"ce-subject differs from the project in the subject {_quoted(subject)}")
        # What a message schedule fires repeats its headers each time, the id included.
        if "nats-scheduler" in given:
            given = {name: value for name, value in given.items() if name not in _OF_ONE_MESSAGE}
            given["ce-source"] = SCHEDULE_SOURCE + given["nats-scheduler"].rpartition(".")[2]
        id_ = _fitting("ce-id", given.get("ce-id"), _ID_PATTERN, "1 to 200 visible ASCII characters")
        id_ = id_ or derive_id(position)
        correlation_id = given.get("ce-correlationid")
        hops = _fitting("ce-hops", given.get("ce-hops"), _HOPS_PATTERN, "a number from 0 on")
        source = given.get("ce-source")
        return cls(
            id=id_,
            type=type_,
            source=_fitting("ce-source", source, _SOURCE_PATTERN, "1 to 200 printable characters") or "unknown",
            project=project,
            time=_time(given["ce-time"]) if "ce-time" in given else stored_at,
            correlation_id=_fitting("ce-correlationid", correlation_id, _ID_PATTERN, "an id as ce-id") or id_,
            causation_id=_fitting("ce-causationid", given.get("ce-causationid"), _ID_PATTERN, "an id as ce-id"),
            hops=int(hops or 0),
            traceparent=given.get("traceparent"),
            tracestate=given.get("tracestate"),
        )


def _fitting(header: str, value: str | None, pattern: re.Pattern[str], form: str) -> str | None:
    """The value, None where it is missing or empty. What does not fit is not repeated: it may be anything."""
    if value and not pattern.fullmatch(value):
        raise NotAnEvent(f"{header} is not {form}")
    return value or None


def _time(value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotAnEvent("ce-time is not a time such as 2026-11-24T12:00:00Z") from None


def _quoted(subject: str) -> str:
    """For a person: printable, and not longer than it helps."""
    return ascii(subject if len(subject) <= _QUOTED_CHARS else f"{subject[:_QUOTED_CHARS]}...")
