"""What is stored, read again: the facts of a span of time in order, for anybody, or given to one service alone."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime

import nats.js.errors
from nats.aio.msg import Msg

from contracts.envelope import Envelope, NotAnEvent
from contracts.events.base import Event
from contracts.topology import CONSUMERS, LOOP, PREDICTIONS, REQUESTS, Consumer, stream_of
from services.chassis.bus import Bus
from services.chassis.errors import Rejected
from services.chassis.reading import Start, in_order
from services.chassis.received import REDO_OF, written_out
from services.chassis.understanding import understand


@dataclass(frozen=True)
class Span:
    """Which stored facts: when they were stored (`since` None: from the first), of which types, about which project."""

    since: datetime | None
    until: datetime
    types: tuple[type[Event], ...] = ()
    project: str | None = None

    def subjects(self) -> dict[str, list[str]]:
        """By stream. What was asked of the predictor is not stored once it is answered."""
        project = self.project or "*"
        if not self.types:
            return {stream: [f"loopline.{project}.>"] for stream in (LOOP, PREDICTIONS)}
        found: dict[str, set[str]] = {}
        for event in self.types:
            if stream_of(event) != REQUESTS:
                found.setdefault(stream_of(event), set()).add(event.subject(project))
        return {stream: sorted(subjects) for stream, subjects in found.items()}


@dataclass(frozen=True)
class Stored:
    """A message as a stream keeps it."""

    stream: str
    seq: int
    at: datetime
    subject: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, message: Msg) -> "Stored":
        """With the metadata that the server adds."""
        meta = message.metadata
        return cls(
            meta.stream, meta.sequence.stream, meta.timestamp, message.subject, message.headers or {}, message.data
        )

    @property
    def position(self) -> str:
        """`<stream>:<sequence>`."""
        return f"{self.stream}:{self.seq}"

    def envelope(self) -> Envelope:
        """What surrounds it.

        Raises:
            NotAnEvent: it is none.
        """
        return Envelope.read(self.subject, self.headers, stored_at=self.at, position=self.position)


async def facts(bus: Bus, span: Span) -> AsyncGenerator[tuple[Event, Envelope], None]:
    """The facts of a span in the order in which they were stored. What cannot be understood is passed over."""
    async with aclosing(stored(bus, span)) as messages:
        async for message in messages:
            with suppress(Rejected, NotAnEvent):
                envelope = message.envelope()
                yield understand(envelope.type, message.body), envelope


async def stored(bus: Bus, span: Span) -> AsyncGenerator[Stored, None]:
    """The messages of a span, of all streams together, in the order in which they were stored."""
    streams = [_of_stream(bus, stream, subjects, span) for stream, subjects in span.subjects().items()]
    try:
        heads = {stream: await anext(stream, None) for stream in streams}
        while waiting := {stream: head for stream, head in heads.items() if head is not None}:
            first = min(waiting, key=lambda stream: waiting[stream].at)
            yield waiting[first]
            heads[first] = await anext(first, None)
    finally:
        for stream in streams:
            await stream.aclose()


def durables_of(service: str) -> list[Consumer]:
    """The durables of a service that hear what is kept."""
    return [row for row in CONSUMERS if row.service == service and row.stream != REQUESTS]


def heard(row: Consumer, span: Span) -> Span | None:
    """What of a span a durable hears; None when that is nothing."""
    types = tuple(event for event in row.hears if not span.types or event in span.types)
    return Span(span.since, span.until, types, span.project) if types else None


async def give(bus: Bus, row: Consumer, message: Stored, run: str) -> bool:
    """Give a stored message to one durable alone, once in each `run`; whether it is an event.

    It keeps its id: what it had caused already is found again, and nothing is made twice.
    """
    try:
        envelope = message.envelope()
    except NotAnEvent:
        return False
    headers = {
        **written_out(message.headers, envelope),
        REDO_OF: message.subject,
        "Nats-Msg-Id": f"replay|{run}|{row.durable}|{message.position}",
    }
    await bus.store(row.redo_subject, message.body, headers, row.stream)
    return True


async def _of_stream(bus: Bus, stream: str, subjects: list[str], span: Span) -> AsyncGenerator[Stored, None]:
    end = await _end(bus, stream, subjects, span)
    if not end:
        return
    async with aclosing(in_order(bus.jetstream, stream, subjects, _start(span))) as messages:
        async for message in messages:
            found = Stored.of(message)
            if found.at <= span.until:
                yield found
            if found.seq >= end or found.at > span.until or not message.metadata.num_pending:
                return


def _start(span: Span) -> Start:
    return Start(seq=1) if span.since is None else Start(since=span.since)


async def _end(bus: Bus, stream: str, subjects: list[str], span: Span) -> int:
    """The sequence of the last message up to now; 0 when none of the span is there: one would wait for it for ever."""
    end = 0
    for subject in subjects:
        with suppress(nats.js.errors.NotFoundError):
            last = await bus.jetstream.get_last_msg(stream, subject, direct=True)
            if span.since is None or (last.time and last.time >= span.since):
                end = max(end, last.seq or 0)
    return end
