"""What may be full: how large streams are, how full they have become, and what a publisher does about it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import nats.js.errors
from nats.js.api import ConsumerInfo, StreamInfo

from contracts.topology import STREAMS, Stream
from services.chassis.settings import StreamLimits

WARN_AT = 0.8
GROWING_FOR = timedelta(seconds=10)

# nats-server's error codes (server/errors.json): what a publisher is told when there is no room.
_STREAM_IS_FULL = {10035, 10054, 10077}
_DISK_IS_FULL = {10023, 10047, 10028}


@dataclass(frozen=True)
class Fill:
    """How full a stream is. `max_bytes` is -1 where there is no limit."""

    stream: str
    messages: int
    bytes: int
    max_bytes: int

    @classmethod
    def of(cls, info: StreamInfo) -> "Fill":
        """From what the server says of a stream."""
        return cls(info.config.name or "", info.state.messages, info.state.bytes, info.config.max_bytes or -1)

    @property
    def share(self) -> float:
        """0..1 of its bytes."""
        return self.bytes / self.max_bytes if self.max_bytes > 0 else 0.0

    @property
    def warning(self) -> str:
        """A sentence when it is nearly full, with what happens then and what to do; "" when there is room."""
        if self.share < WARN_AT:
            return ""
        row = next((row for row in STREAMS if row.name == self.stream), None)
        then = "its oldest messages are dropped" if row and row.discard == "old" else "who speaks has to wait"
        return (
            f"{self.share:.0%} of {size(self.max_bytes)} are used, and when it is full {then}: "
            f"give {self.stream} more max_bytes in LOOPLINE_STREAMS and run the provisioner"
        )


@dataclass(frozen=True)
class Lag:
    """How far a durable is behind: messages it has not had yet, those handed out and not acked, since when they grow.

    `growing_since` is when the waiting ones began to become more from one look to the next; None when they do not.
    """

    durable: str
    waiting: int
    unacked: int
    seen_at: datetime
    growing_since: datetime | None = None

    @classmethod
    def of(cls, info: ConsumerInfo, now: datetime, before: "Lag | None" = None) -> "Lag":
        """From what the server says of a durable now, beside what it said before."""
        waiting = info.num_pending or 0
        since = None
        if before and waiting >= before.waiting > 0:
            since = before.growing_since or (before.seen_at if waiting > before.waiting else None)
        return cls(info.name, waiting, info.num_ack_pending or 0, now, since)

    @property
    def warning(self) -> str:
        """A sentence when it falls behind; "" when it does not."""
        if self.growing_since is None or self.seen_at - self.growing_since < GROWING_FOR:
            return ""
        seconds = (self.seen_at - self.growing_since).total_seconds()
        return (
            f"{self.waiting} messages wait and become more since {seconds:.0f} s: "
            "start another replica of the service, or send less"
        )


def with_limits(stream: Stream, limits: Mapping[str, StreamLimits]) -> Stream:
    """A row of STREAMS with what the settings say about its size and age."""
    given = limits.get(stream.name)
    if given is None:
        return stream
    age_s = stream.max_age_s if given.max_age_s is None else given.max_age_s
    return replace(
        stream,
        max_bytes=stream.max_bytes if given.max_bytes is None else int(given.max_bytes),
        max_age_s=age_s,
        # The server refuses to know a message again for longer than it keeps one.
        duplicate_window_s=min(stream.duplicate_window_s, age_s or stream.duplicate_window_s),
    )


def no_room(error: nats.js.errors.APIError, stream: str) -> str:
    """Why a message found no room, as a sentence; "" when that was not the reason it was refused."""
    # nats-py makes some of its errors without the server's.
    code = getattr(error, "err_code", None) or 0
    description = (getattr(error, "description", None) or "").lower()
    if code in _DISK_IS_FULL or "insufficient" in description or "no space left" in description:
        return (
            f"the disk or the store of the bus has no room for {stream}: free some, "
            "or raise max_file_store of nats-server"
        )
    if code in _STREAM_IS_FULL or "maximum bytes" in description or "maximum messages" in description:
        return f"the stream {stream} is full: it waits for room; is what reads it running? See loopline status"
    return ""


def size(count: float) -> str:
    """Bytes for people: `2.0 GiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
