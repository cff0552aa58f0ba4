"""A message as the server handed it out, and what of it goes along when it is said again on another subject."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import nats.errors
from nats.aio.msg import Msg

from contracts.envelope import Envelope
from contracts.events.base import PROJECT_PATTERN
from contracts.topology import Consumer

# On `redo.<durable>`: the subject that the message was first said on, and where it was first stored.
REDO_OF = "loopline-redo-of"
REDO_ORIGIN = "loopline-redo-origin"
_PROJECT = re.compile(rf"loopline\.({PROJECT_PATTERN})\..+")
_OURS = ("nats-", "loopline-dead-", "loopline-redo-")
# The client reads headers of other names, and refuses to write them.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True)
class Received:
    """A message with what the server knows about it; made up where there is no server, as in memory.

    `origin` is the position at which it was first stored: a dead letter that is tried again keeps it, and with it
    the claims that the first tries left behind.
    """

    raw: Msg
    subject: str
    headers: Mapping[str, str]
    stream: str
    seq: int
    tries: int
    stored_at: datetime
    origin: str

    @classmethod
    def of(cls, raw: Msg, consumer: Consumer) -> "Received":
        """Read the metadata; for what comes by `redo.<durable>`, the subject it was first said on, too."""
        headers = dict(raw.headers or {})
        redone = raw.subject == consumer.redo_subject
        subject = headers.get(REDO_OF, raw.subject) if redone else raw.subject
        try:
            meta = raw.metadata
            stream, seq, tries = meta.stream, meta.sequence.stream, meta.num_delivered
            stored_at = meta.timestamp or datetime.now(UTC)
        except nats.errors.NotJSMessageError:
            stream, seq, tries, stored_at = consumer.stream, 0, 1, datetime.now(UTC)
        position = f"{stream}:{seq}"
        origin = headers.get(REDO_ORIGIN, position) if redone else position
        return cls(raw, subject, headers, stream, seq, tries, stored_at, origin)

    @property
    def position(self) -> str:
        """`<stream>:<sequence>`."""
        return f"{self.stream}:{self.seq}"


def written_out(headers: Mapping[str, str], envelope: Envelope | None) -> dict[str, str]:
    """The headers under which the same message can be stored elsewhere.

    An id or a time that followed from the place where it lay is written out: elsewhere another one would follow.
    """
    known = {name: value for name, value in envelope.headers().items() if name != "Nats-Msg-Id"} if envelope else {}
    spoken_for = {name.lower() for name in known} - {"content-type"}
    kept = {
        name: value
        for name, value in headers.items()
        if _NAME.fullmatch(name) and not name.lower().startswith(_OURS) and name.lower() not in spoken_for
    }
    return {**known, **kept}


def project_of(subject: str) -> str:
    """The project that a subject names, also one that is no event's; empty where there is none."""
    named = _PROJECT.fullmatch(subject)
    return named.group(1) if named else ""
