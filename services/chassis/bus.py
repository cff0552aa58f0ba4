"""The bus as a service sees it: say a fact, ask for the last one, read what is stored, keep a value."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from contracts.envelope import Envelope, NotAnEvent, derive_id
from contracts.events.base import Event
from contracts.telemetry import send_span
from contracts.topology import LOOP, PREDICTIONS, stream_of
from services.chassis.ending import end
from services.chassis.errors import NotAllowed, Rejected, Retry, Unreachable
from services.chassis.kv import Bucket
from services.chassis.reading import Start, in_order
from services.chassis.refusals import Refusals, jetstream
from services.chassis.room import Room
from services.chassis.telemetry import SpanKind, carried, span
from services.chassis.understanding import read_event, understand
from services.chassis.wire import stand_up_to_any_message

E = TypeVar("E", bound=Event)

PUBLISH_TIMEOUT_S = 5.0


class Publish(Protocol):
    """Store bytes on a subject of a stream; returns their sequence when the server has them, None without a server."""

    async def __call__(self, subject: str, body: bytes, headers: Mapping[str, str], stream: str) -> int | None: ...


class Bus:
    """One connection to the bus, speaking as `source`."""

    def __init__(self, source: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.source = f"/services/{source}"
        self.now = now
        self._refusals = Refusals()
        self._connection: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._publish: Publish = self._publish_to_jetstream
        self.room = Room()

    def attach(self, connection: Client) -> None:
        """Use this connection from now on."""
        stand_up_to_any_message()
        self._connection = connection
        self._refusals.listen(connection)
        self._jetstream = jetstream(connection, self._refusals, PUBLISH_TIMEOUT_S)

    def publish_through(self, publish: Publish) -> None:
        """Store facts by other means: what the in-memory broker of the tests needs."""
        self._publish = publish

    @property
    def connection(self) -> Client:
        """The connection; there is none before the service has started."""
        if self._connection is None:
            raise Retry("not connected to the bus yet")
        return self._connection

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream over the connection."""
        if self._jetstream is None:
            raise Retry("not connected to the bus yet")
        return self._jetstream

    async def say(self, event: Event, *, project: str, cause: Envelope | None = None) -> Envelope:
        """Say a fact or a request; returns when the stream has it.

        The id follows from the cause and the event's natural key, from project and natural key where there is no
        cause, and is random where there is neither. Saying the same again within the stream's window is no second fact.

        Raises:
            NotAllowed: this user may not say it.
            nats.errors.TimeoutError: the server did not answer.
        """
        if cause:
            envelope = Envelope.caused(event, by=cause, source=self.source, time=self.now(), project=project)
        else:
            id_ = derive_id(project, event.TYPE, event.natural_key) if event.natural_key else str(uuid4())
            envelope = Envelope.first(event, project=project, source=self.source, id=id_, time=self.now())
        return await self.send(event, envelope)

    async def send(self, event: Event, envelope: Envelope) -> Envelope:
        """Store an event under an envelope made before, inside a `send` span."""
        with span(
            send_span(event.name()),
            SpanKind.PRODUCER,
            **{
                "messaging.system": "nats",
                "messaging.operation.type": "send",
                "messaging.destination.name": envelope.subject,
                "messaging.message.id": envelope.id,
                "messaging.message.conversation_id": envelope.correlation_id,
                "loopline.project": envelope.project,
            },
        ):
            envelope = envelope.traced(*carried())
            body = event.model_dump_json().encode()
            await self._publish(envelope.subject, body, envelope.headers(), stream_of(type(event)))
        return envelope

    async def store(self, subject: str, body: bytes, headers: Mapping[str, str], stream: str) -> int | None:
        """Store bytes that are no event of the contracts, such as a dead letter; returns their sequence."""
        return await self._publish(subject, body, headers, stream)

    async def _publish_to_jetstream(
        self, subject: str, body: bytes, headers: Mapping[str, str], stream: str
    ) -> int | None:
        async def publish() -> int:
            try:
                ack = await self.jetstream.publish(
                    subject, body, timeout=PUBLISH_TIMEOUT_S, stream=stream, headers=dict(headers)
                )
                return ack.seq
            except nats.errors.MaxPayloadError:
                limit = f"the {self.connection.max_payload} bytes that the bus takes"
                raise Rejected(f"{subject} is larger than {limit}: put large things into the blob store") from None

        return await self.room.when_there_is(stream, publish)

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None:
        """The last event of a type said about a project, such as its card."""
        stream = stream_of(event_type)
        with suppress(nats.js.errors.NotFoundError):
            message = await self.jetstream.get_last_msg(stream, event_type.subject(project))
            stored_at = message.time or self.now()
            position = f"{stream}:{message.seq}"
            return read_event(
                event_type, message.subject or "", message.headers, message.data or b"", stored_at, position
            )
        return None

    async def read(
        self, event_type: type[E], project: str = "*", *, from_seq: int = 1
    ) -> AsyncIterator[tuple[E, Envelope, int]]:
        """All stored events of a type up to now, in order, from a stream sequence on, with their sequences.

        A stored message that cannot be understood is passed over: the durable that heard it has dead-lettered it.
        """
        stream, subject = stream_of(event_type), event_type.subject(project)
        try:
            end = (await self.jetstream.get_last_msg(stream, subject)).seq or 0
        except nats.js.errors.NotFoundError:
            return
        if end < from_seq:
            return
        async with aclosing(in_order(self.jetstream, stream, [subject], Start(seq=from_seq))) as messages:
            async for message in messages:
                seq = message.metadata.sequence.stream
                with suppress(Rejected, NotAnEvent):
                    event, envelope = read_event(
                        event_type,
                        message.subject,
                        message.headers,
                        message.data,
                        message.metadata.timestamp,
                        f"{stream}:{seq}",
                    )
                    yield event, envelope, seq
                if seq >= end:
                    return

    async def follow(
        self, types: list[type[Event]] | None = None, project: str = "*", *, since: datetime | None = None
    ) -> AsyncGenerator[tuple[Event, Envelope], None]:
        """Events as they are said, all of LOOP and PREDICTIONS unless `types` are given; older ones first with `since`.

        Heard by an ordered consumer of one's own: nothing is taken from anybody, nothing is acked. Runs for ever.
        """
        filters: dict[str, list[str]] = {}
        for type_ in types or ():
            filters.setdefault(stream_of(type_), []).append(type_.subject(project))
        if not types:
            filters = {stream: [f"loopline.{project}.>"] for stream in (LOOP, PREDICTIONS)}
        arrived: asyncio.Queue[Msg] = asyncio.Queue(maxsize=1000)

        async def listen(stream: str, subjects: list[str]) -> None:
            async for message in in_order(self.jetstream, stream, subjects, Start(since=since)):
                await arrived.put(message)

        listening = [asyncio.create_task(listen(stream, subjects)) for stream, subjects in filters.items()]
        try:
            while True:
                message = await self._next(arrived, listening)
                meta = message.metadata
                position = f"{meta.stream}:{meta.sequence.stream}"
                with suppress(Rejected, NotAnEvent):
                    envelope = Envelope.read(
                        message.subject, message.headers, stored_at=meta.timestamp, position=position
                    )
                    yield understand(envelope.type, message.data), envelope
        finally:
            await end(listening)

    @staticmethod
    async def _next(arrived: "asyncio.Queue[Msg]", listening: "list[asyncio.Task[None]]") -> Msg:
        """The next message; an error once nobody listens any more, since then none will come."""
        waiting = asyncio.ensure_future(arrived.get())
        try:
            await asyncio.wait({waiting, *listening}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                for task in listening:
                    if task.done():
                        task.result()
                raise Unreachable("the connection to the bus was closed")
            return waiting.result()
        finally:
            waiting.cancel()

    async def answer(self, subject: str, queue: str, take: Callable[[Msg], Awaitable[None]]) -> None:
        """Hear what is asked on a subject, as one of the queue; returns when the server has agreed.

        Raises:
            NotAllowed: this user may not hear that.
        """
        await self.connection.subscribe(subject, queue=queue, cb=take)
        # The ping of a flush overtakes what was written just before it, so that only the second comes after it.
        await self.connection.flush()
        await self.connection.flush()
        if subject.lower() in self._refusals.unheard:
            raise NotAllowed(f"not allowed to hear {subject}")

    async def check_may_fetch(self, stream: str, durable: str) -> None:
        """Take nothing, but find out whether this user may: a fetch that is refused only ever brings no message.

        Raises:
            NotAllowed: this user may not fetch from that durable.
        """
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        try:
            with self._refusals.watched(subject, "fetch from"):
                # Half an object: a server that lets it pass answers that it is none.
                await self.connection.request(subject, b"{", timeout=PUBLISH_TIMEOUT_S)
        except NotAllowed:
            raise NotAllowed(f"not allowed to fetch from {durable}") from None

    def bucket(self, name: str) -> Bucket:
        """A key-value bucket that the provisioner has made."""
        return Bucket(lambda: self.jetstream, name)

    async def ask(self, subject: str, body: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Request-reply over core NATS, outside every stream; JSON both ways.

        Raises:
            NotAllowed: this user may not ask that.
        """
        traceparent, tracestate = carried()
        headers = {"content-type": "application/json"}
        headers |= {"traceparent": traceparent} if traceparent else {}
        headers |= {"tracestate": tracestate} if tracestate else {}
        with self._refusals.watched(subject, "ask"):
            answer = await self.connection.request(
                subject, json.dumps(body).encode(), timeout=timeout_s, headers=headers
            )
        reply = json.loads(answer.data)
        if not isinstance(reply, dict):
            raise Rejected(f"the answer on {subject} is no JSON object")
        return reply
