"""A bus in memory: what is stored, buckets as strict with their keys as the server, and messages to deliver."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from nats.js.errors import KeyNotFoundError

from contracts.envelope import Envelope, NotAnEvent
from contracts.topology import DEAD
from services.chassis.bus import Bus
from services.chassis.errors import Rejected
from services.chassis.kv import Conflict, KeyExists
from services.chassis.understanding import understand
from tests.fuzz.messages import Message

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
_TOKEN = r"[-/_=a-zA-Z0-9]+"
_KEY = re.compile(rf"{_TOKEN}(\.{_TOKEN})*")
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass
class Stored:
    """Something that a service stored."""

    subject: str
    headers: dict[str, str]
    body: bytes
    stream: str


class Bucket:
    """A key-value bucket."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, int]] = {}

    async def get(self, key: str) -> tuple[dict[str, Any], int] | None:
        found = self.kept.get(_checked(key))
        return (json.loads(found[0]), found[1]) if found else None

    async def create(self, key: str, value: dict[str, Any]) -> int:
        if _checked(key) in self.kept:
            raise KeyExists(key)
        return await self.put(key, value)

    async def put(self, key: str, value: dict[str, Any], revision: int | None = None) -> int:
        now = self.kept.get(_checked(key), ("", 0))[1]
        if revision is not None and revision != now:
            raise Conflict(key)
        self.kept[key] = (json.dumps(value), now + 1)
        return now + 1

    async def delete(self, key: str) -> None:
        self.kept.pop(_checked(key), None)

    async def keys(self) -> list[str]:
        return list(self.kept)

    async def values(self, keys: str) -> dict[str, dict[str, Any]]:
        pattern = re.compile(re.escape(keys).replace(r"\*", r"[^.]+").replace(">", ".+"))
        return {key: json.loads(value) for key, (value, _) in self.kept.items() if pattern.fullmatch(key)}

    async def watch(self, on_value: Callable[[str, dict[str, Any] | None], Awaitable[None]]) -> None:
        raise KeyNotFoundError


def _checked(key: str) -> str:
    assert _KEY.fullmatch(key), f"the server takes no key {key!r}"
    return key


@dataclass
class Memory:
    """What services find instead of a server."""

    stored: list[Stored] = field(default_factory=list)
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Let every bus made from now on use this memory."""
        memory = self

        async def last(bus: Bus, event_type: Any, project: str) -> Any:
            found = [one async for one in memory.read(event_type, project)]
            return found[-1][:2] if found else None

        def read(bus: Bus, event_type: Any, project: str = "*", *, from_seq: int = 1) -> Any:
            return memory.read(event_type, project, from_seq)

        patch.setattr(Bus, "last", last)
        patch.setattr(Bus, "read", read)
        patch.setattr(Bus, "bucket", lambda bus, name: self.buckets.setdefault(name, Bucket()))

    async def store(self, subject: str, body: bytes, headers: Mapping[str, str], stream: str) -> int:
        """As the server, which takes no other header names and no line ends in values."""
        for name, value in headers.items():
            assert _HEADER.fullmatch(name.strip()), f"no header may be called {name!r}"
            assert isinstance(value, str)
            value.encode()
        self.stored.append(Stored(subject, dict(headers), body, stream))
        # Enough for a state to work on; a test of thousands of messages must not read them all each time.
        del self.stored[:-200]
        return len(self.stored)

    async def read(self, event_type: Any, project: str, from_seq: int = 1) -> AsyncIterator[Any]:
        for seq, one in enumerate(list(self.stored), 1):
            if seq < from_seq or one.stream == DEAD or one.headers["ce-type"] != event_type.TYPE:
                continue
            if project not in ("*", one.headers["ce-subject"]):
                continue
            try:
                envelope = Envelope.read(one.subject, one.headers, stored_at=NOW, position=f"LOOP:{seq}")
                yield understand(envelope.type, one.body), envelope, seq
            except (NotAnEvent, Rejected):
                continue


@dataclass
class _Sequence:
    stream: int
    consumer: int


@dataclass
class _Metadata:
    stream: str
    sequence: _Sequence
    num_delivered: int
    timestamp: datetime


class Handed:
    """A message as nats-py hands it out, which notes how it was settled."""

    def __init__(self, message: Message, stream: str) -> None:
        self.subject, self.headers, self.data = message.subject, message.headers or None, message.body
        self.metadata = _Metadata(stream, _Sequence(message.seq, 1), message.tries, NOW)
        self.settled: list[str] = []

    async def ack(self) -> None:
        self.settled.append("ack")

    async def nak(self, delay: float | None = None) -> None:
        self.settled.append("nak" if delay is None else "later")

    async def in_progress(self) -> None:
        pass
