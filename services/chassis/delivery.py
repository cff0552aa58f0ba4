"""The road of a message: span, policy, validation, keep-alive, handler, publish, ack. Nobody else touches an ack.

The ack is the commit: a message is acked after every fact its handler returned is stored. An error is decided here
and nowhere else: tried again after the pauses of the topology, or dead-lettered with its reason and then acked.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing, suppress
from itertools import count
from typing import cast

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg

from contracts.envelope import MAX_HOPS, Envelope, NotAnEvent
from contracts.events.base import Event
from contracts.telemetry import process_span
from contracts.topology import Consumer
from services.chassis.burying import bury
from services.chassis.bus import Bus
from services.chassis.errors import Away, Busy, NotAllowed, Rejected
from services.chassis.heard import Heard
from services.chassis.received import Received
from services.chassis.telemetry import SpanKind, inside, record_error, span
from services.chassis.understanding import understand

log = logging.getLogger(__name__)

Handler = Callable[..., Awaitable[Iterable[Event]] | AsyncIterator[Event]]

# A message that was handed out this much oftener than it may be tried never came to an end: it kills its service.
_LOST_DELIVERIES = 20
_BUSY_PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 600.0)
_AWAY_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
# What a call of the bus raises while it has no server, no leader or no answer: no fault of the message.
_BUS_AWAY = (
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.js.errors.NoStreamResponseError,
    nats.js.errors.ServiceUnavailableError,
)
# Work that the server was not told of for this share of the ack wait is stopped: before another gets it.
_SURE = 0.75


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
        # Whom its messages wait for at the moment, by message.
        self._waits: dict[str, str] = {}

    @property
    def waits_for(self) -> str:
        """Which system outside its messages wait for, in a sentence; "" when none does."""
        return next(iter(self._waits.values()), "")

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
                received.subject, received.headers, stored_at=received.stored_at, position=received.origin
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
            failure = await self._work(received, self._handle(received, envelope))
            if failure:
                record_error(current, failure)
            await self._end(received, envelope, failure)

    async def _work(self, received: Received, what: Coroutine[None, None, None]) -> BaseException | None:
        """Do it in a task of its own, so that it can be stopped while the message is still to be settled.

        Meanwhile the server is told that it is being worked on; if that fails for too long another has it: stop.
        """
        work = asyncio.create_task(what)
        self._running.add(work)
        loop = asyncio.get_running_loop()
        told = loop.time()
        try:
            while not (await asyncio.wait({work}, timeout=self.consumer.keep_alive_s))[0]:
                telling = loop.time()
                if await self._kept_alive(received):
                    told = telling
                elif loop.time() - told > self.consumer.ack_wait_s * _SURE:
                    log.error("no keep-alive for %.0f s: the work is stopped, another may have it", loop.time() - told)
                    work.cancel()
                    await asyncio.wait({work})
                    break
        finally:
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
        heard = Heard(envelope, received.origin, tries)
        try:
            for again in count():
                try:
                    await self._say_all(handler(event, heard), envelope)
                    return
                except (Away, *_BUS_AWAY) as away:
                    # In hand, for an hour where need be: handing it back would count as a try each time.
                    if str(away) not in self._waits.values():
                        log.warning("waits: %s", away)
                    self._waits[received.position] = str(away)
                await asyncio.sleep(_AWAY_PAUSES_S[min(again, len(_AWAY_PAUSES_S) - 1)])
        finally:
            if self._waits.pop(received.position, None) and not self._waits:
                log.info("%s waits for nothing any more", self.consumer.durable)

    async def _say_all(self, said: "Awaitable[Iterable[Event]] | AsyncIterator[Event]", envelope: Envelope) -> None:
        if isinstance(said, AsyncIterator):
            # Closed at once when a fact cannot be said: whatever the handler holds must not wait for its collection.
            async with aclosing(cast("AsyncGenerator[Event, None]", said)) as facts:
                async for fact in facts:
                    await self._bus.say(fact, project=envelope.project, cause=envelope)
        else:
            for fact in await said:
                await self._bus.say(fact, project=envelope.project, cause=envelope)

    async def _kept_alive(self, received: Received) -> bool:
        """Tell the server that the message is being worked on; whether it has heard that.

        It is asked for an answer: a connection whose other end is gone takes what is written as if nothing were wrong.
        """
        try:
            await self._bus.connection.request(received.raw.reply, Msg.Ack.Progress, self.consumer.keep_alive_s)
        except (nats.errors.Error, OSError) as error:
            log.warning("the keep-alive was not heard: %s", error)
            return False
        return True

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
                # Kept alive, too: where there is no room for a dead letter it waits until there is.
                failed = await self._work(received, bury(self._bus, self.consumer, received, envelope, error))
                if isinstance(failed, asyncio.CancelledError):
                    await self._hand_back(received)
                elif failed:
                    raise failed
                else:
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
        except (nats.errors.Error, nats.js.errors.Error, OSError, NotAllowed) as unsettled:
            log.exception("the message could not be settled and will come again: %s", unsettled)

    async def _hand_back(self, received: Received) -> None:
        with suppress(nats.errors.Error, OSError):
            await received.raw.nak()

    async def close(self, grace_s: float) -> None:
        """Let what is in flight finish for `grace_s` seconds, then stop it and hand it back."""
        self._closing = True
        if self._unsettled:
            await asyncio.wait(self._unsettled, timeout=grace_s)
        for work in self._running:
            work.cancel()
        if self._unsettled:
            await asyncio.wait(self._unsettled, timeout=grace_s)
