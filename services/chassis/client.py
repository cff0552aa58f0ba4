"""The small client of those who are no service: the command line, the web application, a notebook."""

import asyncio
import getpass
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import nats.errors
import nats.js.errors
from nats.aio.client import Client as Connection

from contracts.envelope import Envelope
from contracts.events.base import EVENTS, Event
from contracts.events.prediction import (
    MAX_INLINE_BYTES,
    Metadata,
    PredictionCompleted,
    PredictionFailed,
    PredictionRequested,
)
from contracts.events.project import ProjectDefined
from contracts.topology import CONSUMERS, DEAD, LOOP, STREAMS, ask_subject
from services.chassis.blobs import Blobs
from services.chassis.bus import Bus
from services.chassis.connection import connect
from services.chassis.dead import DeadLetters
from services.chassis.errors import NotAllowed, Rejected, Unreachable
from services.chassis.kv import Bucket
from services.chassis.limits import Fill
from services.chassis.presence import Alive, alive
from services.chassis.schedules import Schedules
from services.chassis.settings import Settings

E = TypeVar("E", bound=Event)

ASK_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class ConsumerState:
    """How far a durable is: messages it has not had yet, and those handed out and not acked."""

    durable: str
    pending: int
    unacked: int
    redelivered: int


class Client:
    """Says, asks, reads and follows; made by `Client.connect`."""

    def __init__(self, connection: Connection, settings: Settings, name: str) -> None:
        self.bus = Bus(name)
        self.bus.attach(connection)
        self.dead = DeadLetters(self.bus)
        self.schedules = Schedules(self.bus)
        self.blobs = Blobs(settings.blobs_root, make=False)
        self.settings = settings

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: Settings | None = None, name: str = "cli") -> AsyncIterator["Client"]:
        """A client for as long as the `async with` lasts.

        Raises:
            Unreachable: the bus does not answer, or was not provisioned yet; the text says what to do.
        """
        settings = settings or Settings()
        connection = await connect(settings, name)
        try:
            client = cls(connection, settings, name)
            try:
                # A camera may not look; it is told when it says something.
                with suppress(NotAllowed):
                    await client.bus.jetstream.stream_info(LOOP)
            except nats.js.errors.NotFoundError:
                raise Unreachable(
                    f"NATS at {settings.nats_url} has no stream {LOOP}: run python -m services.chassis.provisioning"
                ) from None
            except (nats.errors.Error, nats.js.errors.Error) as error:
                raise Unreachable(f"NATS at {settings.nats_url} does not answer for JetStream: {error}") from error
            yield client
        finally:
            await connection.close()

    async def say(self, event: Event, *, project: str, cause: Envelope | None = None) -> Envelope:
        """As `Bus.say`."""
        return await self.bus.say(event, project=project, cause=cause)

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None:
        """As `Bus.last`."""
        return await self.bus.last(event_type, project)

    def read(self, event_type: type[E], project: str = "*") -> AsyncIterator[tuple[E, Envelope, int]]:
        """As `Bus.read`: all stored events of a type up to now."""
        return self.bus.read(event_type, project)

    def events(
        self, types: list[type[Event]] | None = None, project: str | None = None, since: datetime | None = None
    ) -> AsyncGenerator[tuple[Event, Envelope], None]:
        """Events as they are said; those since a time first, where one is given. Runs for ever."""
        return self.bus.follow(types, project or "*", since=since)

    async def predict(self, project: str, request: PredictionRequested) -> PredictionCompleted | PredictionFailed:
        """Ask for one prediction and wait for it.

        Raises:
            Unreachable: no predictor answers.
        """
        try:
            answer = await self.bus.ask(ask_subject(project), request.model_dump(mode="json"), ASK_TIMEOUT_S)
        except nats.errors.NoRespondersError:
            raise Unreachable("no predictor is running: is the stack up? ./taskw up") from None
        except nats.errors.TimeoutError:
            raise Unreachable(f"the predictor did not answer within {ASK_TIMEOUT_S:.0f} s") from None
        model = EVENTS[str(answer["type"])]
        event = model.model_validate(answer["data"])
        if not isinstance(event, PredictionCompleted | PredictionFailed):
            raise Rejected(f"the predictor answered with {answer['type']}")
        return event

    async def find_prediction(self, prediction_id: str, project: str) -> tuple[PredictionCompleted, Envelope] | None:
        """A stored prediction by its id."""
        async for event, envelope, _ in self.bus.read(PredictionCompleted, project):
            if event.prediction_id == prediction_id:
                return event, envelope
        return None

    async def projects(self) -> list[str]:
        """The projects that have a card."""
        info = await self.bus.jetstream.stream_info(LOOP, subjects_filter=ProjectDefined.subject("*"))
        return sorted(subject.split(".")[1] for subject in info.state.subjects or {})

    async def consumers(self) -> list[ConsumerState]:
        """How far every durable of the topology is."""
        infos = await asyncio.gather(*(self.bus.jetstream.consumer_info(row.stream, row.durable) for row in CONSUMERS))
        return [
            ConsumerState(row.durable, info.num_pending or 0, info.num_ack_pending or 0, info.num_redelivered or 0)
            for row, info in zip(CONSUMERS, infos, strict=True)
        ]

    async def alive(self) -> Sequence[Alive]:
        """Every process of a service that answers now."""
        return await alive(self.bus.connection)

    async def fills(self) -> list[Fill]:
        """How full every stream of the topology is."""
        infos = await asyncio.gather(*(self.bus.jetstream.stream_info(row.name) for row in STREAMS))
        return [Fill.of(info) for info in infos]

    async def dead_count(self) -> int:
        """How many dead letters there are."""
        return int((await self.bus.jetstream.stream_info(DEAD)).state.messages)

    def bucket(self, name: str) -> Bucket:
        """As `Bus.bucket`."""
        return self.bus.bucket(name)


async def request_for(blobs: Blobs, encoded: bytes, metadata: Metadata | None = None) -> PredictionRequested:
    """A request about a PNG or JPEG: the image inside it, or in the blob store where it is too large for the bus."""
    if len(encoded) <= MAX_INLINE_BYTES:
        return PredictionRequested(image_base64=b64encode(encoded).decode(), metadata=metadata or {})
    suffix = "png" if encoded.startswith(b"\x89PNG") else "jpg"
    blob = await asyncio.to_thread(blobs.put, encoded, suffix)
    return PredictionRequested(image_uri=blob.uri, metadata=metadata or {})


def whoami() -> str:
    """The name under which a person's events are said where none is given."""
    return getpass.getuser()
