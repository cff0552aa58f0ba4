"""Says things to the loop until they are acknowledged, and remembers what was."""

import asyncio
from uuid import uuid4

import nats.errors
import nats.js.errors

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.topology import stream_of
from services.chassis.client import Client
from tests.chaos.books import Dead, Sent

_TIMEOUT_S = 2.0
_PAUSE_S = 0.3


class Speaker:
    """`sent` is what the bus has acknowledged, `injected` what was said to become a dead letter."""

    def __init__(self, client: Client, project: str) -> None:
        self._client = client
        self._project = project
        self.sent: list[Sent] = []
        self.injected: set[Dead] = set()
        self.repeats = 0

    async def say(self, event: Event, *, refused: bool = False) -> str:
        """Say an event; returns its id once the stream has it. Each try has the same id, as a camera's would."""
        envelope = Envelope.first(
            event, project=self._project, source="/chaos", id=str(uuid4()), time=self._client.bus.now()
        )
        body = event.model_dump_json().encode()
        await self._publish(envelope.subject, body, envelope.headers(), stream_of(type(event)))
        self.sent.append(Sent(envelope.id, event, refused))
        return envelope.id

    async def say_nonsense(self, event_type: type[Event], durable: str, body: bytes, **headers: str) -> None:
        """Say something that this durable can only put away as a dead letter."""
        stream = stream_of(event_type)
        # Without an id the bus would store a repetition as another message.
        given = {**headers, "Nats-Msg-Id": str(uuid4())}
        seq = await self._publish(event_type.subject(self._project), body, given, stream)
        self.injected.add(Dead(stream, seq, durable))

    async def _publish(self, subject: str, body: bytes, headers: dict[str, str], stream: str) -> int:
        while True:
            try:
                jetstream = self._client.bus.jetstream
                ack = await jetstream.publish(subject, body, timeout=_TIMEOUT_S, stream=stream, headers=headers)
                return ack.seq
            except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError):
                self.repeats += 1
                await asyncio.sleep(_PAUSE_S)
