"""The road of a message: span, policy, validation, keep-alive, handler, publish, ack. Nobody else touches an ack.

The ack is the commit: a message is acked after every fact its handler returned is stored. An error is decided here
and nowhere else: tried again after the pauses of the topology, or dead-lettered with its reason and then acked.
"""

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import nats.errors
from nats.aio.msg import Msg

from contracts.envelope import MAX_HOPS, Envelope, NotAnEvent
from contracts.events.base import Event
from contracts.telemetry import process_span
from contracts.topology import DEAD, Consumer, dead_subject
from services.chassis.bus import Bus, understand
from services.chassis.errors import Busy, NotAllowed, Rejected
from services.chassis.heard import Heard
from services.chassis.telemetry import SpanKind, inside, record_error, span

log = logging.getLogger(__name__)

Handler = Callable[..., Awaitable[Iterable[Event]] | AsyncIterator[Event]]

# A message that was handed out this much oftener than it may be tried never came to an end: it kills its service.
_LOST_DELIVERIES = 20
_BUSY_PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 600.0)


@dataclass(frozen=True)
class Received:
    """A message with what the server knows about it; made up where there is no server, as in memory."""

    raw: Msg
    subject: str
    headers: Mapping[str, str]
    stream: str
    seq: int
    tries: int
    stored_at: datetime

    @classmethod
    def of(cls, raw: Msg, consumer: Consumer) -> "Received":
        """Read the metadata, and for a dead letter that is tried again the subject it was first said on."""
        headers = dict(raw.headers or {})
        subject = headers.get("loopline-redo-of", raw.subject) if raw.subject == consumer.redo_subject else raw.subject
        try:
            meta = raw.metadata
        except nats.errors.NotJSMessageError:
            return cls(raw, subject, headers, consumer.stream, 0, 1, datetime.now(UTC))
        return cls(
            raw,
            subject,
            headers,
            meta.stream,
            meta.sequence.stream,
            meta.num_delivered,
            meta.timestamp or datetime.now(UTC),
        )

    @property
    def position(self) -> str:
        """`<stream>:<sequence>`."""
        return f"{self.stream}:{self.seq}"


class Delivery:
    """Delivers the messages of one durable to the handlers of their types."""

    def __init__(self, consumer: Consumer, handlers: Mapping[type[Event], Handler], bus: Bus) -> None:
        unheard = set(consumer.hears) ^ set(handlers)
        if unheard:
            raise ValueError(f"{consumer.durable}: handlers and topology differ in {sorted(e.TYPE for e in unheard)}")
        self.consumer = consumer
        self._handlers = handlers
        self._bus = bus
        self._running: set[asyncio.Task[None]] = set()
        self._unsettled: set[asyncio.Future[None]] = set()
        self._closing = False

    async def deliver(self, raw: Msg) -> None:
        """Take a message to its end: acked, to be tried again, dead-lettered, or handed back."""
        settled = asyncio.get_running_loop().create_future()
        self._unsettled.add(settled)
        try:
            await self._deliver(Received.of(raw, self.consumer))
        finally:
            self._unsettled.discard(settled)
            settled.set_result(None)

    async def _deliver(self, received: Received) -> None:
        if self._closing:
            await self._hand_back(received)
            return
        try:
            envelope = Envelope.read(
                received.subject, received.headers, stored_at=received.stored_at, position=received.position
            )
        except NotAnEvent as error:
            await self._end(received, None, Rejected(str(error)))
            return
        name = envelope.type.removeprefix("loopline.").rsplit(".", 1)[0]
        attributes = {
            "messaging.system": "nats",
            "messaging.operation.type": "process",
            "messaging.destination.name": received.subject,
            "messaging.consumer.group.name": self.consumer.durable,
            "messaging.message.id": envelope.id,
            "messaging.message.conversation_id": envelope.correlation_id,
            "loopline.project": envelope.project,
            "loopline.tries": str(received.tries),
        }
        with inside(envelope), span(process_span(name), SpanKind.CONSUMER, **attributes) as current:
            failure = await self._work(received, envelope)
            if failure:
                record_error(current, failure)
            await self._end(received, envelope, failure)

    async def _work(self, received: Received, envelope: Envelope) -> BaseException | None:
        """Run the handler in a task of its own, so that it can be stopped while the message is still to be settled."""
        work = asyncio.create_task(self._handle(received, envelope))
        self._running.add(work)
        alive = asyncio.create_task(self._keep_alive(received, work))
        try:
            await asyncio.wait({work})
        finally:
            alive.cancel()
            self._running.discard(work)
        if work.cancelled():
            return asyncio.CancelledError("stopped before it was done")
        return work.exception()

    async def _handle(self, received: Received, envelope: Envelope) -> None:
        tries = received.tries
        if tries > len(self.consumer.pauses_s) + 1 + _LOST_DELIVERIES:
            raise Rejected(f"was handed out {tries} times and never came to an end: does it crash the service?")
        if envelope.hops > MAX_HOPS:
            raise Rejected(f"has {envelope.hops} causes, more than {MAX_HOPS}: a loop that feeds itself")
        event = understand(envelope.type, received.raw.data)
        handler = self._handlers.get(type(event))
        if handler is None:
            raise Rejected(f"{self.consumer.durable} does not handle {envelope.type}")
        said = handler(event, Heard(envelope, received.position, tries))
        if isinstance(said, AsyncIterator):
            # Closed at once when a fact cannot be said: whatever the handler holds must not wait for its collection.
            async with aclosing(cast("AsyncGenerator[Event, None]", said)) as facts:
                async for fact in facts:
                    await self._bus.say(fact, project=envelope.project, cause=envelope)
        else:
            for fact in await said:
                await self._bus.say(fact, project=envelope.project, cause=envelope)

    async def _keep_alive(self, received: Received, work: asyncio.Task[None]) -> None:
        """Tell the server that the message is being worked on; if that fails for too long another has it: stop."""
        loop = asyncio.get_running_loop()
        told = loop.time()
        while True:
            await asyncio.sleep(self.consumer.ack_wait_s / 3)
            try:
                await received.raw.in_progress()
                if self._bus.connection.is_connected:
                    told = loop.time()
            except (nats.errors.Error, OSError) as error:
                log.warning("the keep-alive could not be sent: %s", error)
            if loop.time() - told > self.consumer.ack_wait_s:
                log.error("no keep-alive for %.0f s: the work is stopped, another may have it", loop.time() - told)
                work.cancel()
                return

    async def _end(self, received: Received, envelope: Envelope | None, error: BaseException | None) -> None:
        """Settle the message. If even that fails it stays unacked, and the server hands it out again."""
        try:
            if error is None:
                await received.raw.ack()
            elif isinstance(error, asyncio.CancelledError):
                await self._hand_back(received)
            elif isinstance(error, Busy):
                pause = _BUSY_PAUSES_S[min(received.tries, len(_BUSY_PAUSES_S)) - 1]
                log.info("waits %s s: %s", pause, error)
                await received.raw.nak(delay=pause)
            elif isinstance(error, Rejected | NotAllowed) or received.tries > len(self.consumer.pauses_s):
                await self._bury(received, envelope, error)
                await received.raw.ack()
            else:
                pause = self.consumer.pauses_s[received.tries - 1]
                log.warning(
                    "try %d of %d failed, again in %s s: %s: %s",
                    received.tries,
                    len(self.consumer.pauses_s) + 1,
                    pause,
                    type(error).__name__,
                    error,
                    exc_info=error,
                )
                await received.raw.nak(delay=pause)
        except (nats.errors.Error, OSError) as failed:
            log.exception("the message could not be settled and will come again: %s", failed)

    async def _hand_back(self, received: Received) -> None:
        with suppress(nats.errors.Error, OSError):
            await received.raw.nak()

    async def _bury(self, received: Received, envelope: Envelope | None, error: BaseException) -> None:
        """A dead letter: the whole message, and headers that say where, why, when and how often."""
        reason = f"{type(error).__name__}: {error}"
        log.error("dead letter from %s: %s", received.position, reason, exc_info=error)
        stack = "".join(traceback.format_exception(error))[-4000:]
        headers = {
            **{name: value for name, value in received.headers.items() if not name.lower().startswith("nats-")},
            "loopline-dead-durable": self.consumer.durable,
            "loopline-dead-stream": received.stream,
            "loopline-dead-sequence": str(received.seq),
            "loopline-dead-subject": received.subject,
            "loopline-dead-tries": str(received.tries),
            "loopline-dead-at": self._bus.now().isoformat(),
            "loopline-dead-reason": _one_line(reason)[:1000],
            "loopline-dead-stack": _one_line(stack, "\\n"),
            "Nats-Msg-Id": f"dead|{self.consumer.durable}|{received.position}",
        }
        if envelope and envelope.traceparent:
            headers["traceparent"] = envelope.traceparent
        subject = dead_subject(received.stream, self.consumer.durable)
        await self._bus.store(subject, received.raw.data, headers, DEAD)

    async def close(self, grace_s: float) -> None:
        """Let what is in flight finish for `grace_s` seconds, then stop it and hand it back."""
        self._closing = True
        if self._unsettled:
            await asyncio.wait(self._unsettled, timeout=grace_s)
        for work in self._running:
            work.cancel()
        if self._unsettled:
            await asyncio.wait(self._unsettled, timeout=grace_s)


def _one_line(text: str, newline: str = " ") -> str:
    return text.replace("\r", "").replace("\n", newline)
