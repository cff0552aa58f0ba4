"""The small client of those who are no service: the command line, the web application, a notebook."""

import asyncio
import getpass
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import nats.errors
import nats.js.errors
from nats.aio.client import Client as Connection

from contracts.envelope import Envelope
from contracts.events.base import EVENTS, Event
from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested
from contracts.events.project import ProjectDefined
from contracts.topology import CONSUMERS, DEAD, LOOP, ask_subject
from services.chassis.blobs import Blobs
from services.chassis.bus import Bus
from services.chassis.connection import connect
from services.chassis.errors import Rejected, Unreachable
from services.chassis.kv import Bucket
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
        self.blobs = Blobs(settings.blobs_root)
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

    async def dead_count(self) -> int:
        """How many dead letters there are."""
        return int((await self.bus.jetstream.stream_info(DEAD)).state.messages)

    def bucket(self, name: str) -> Bucket:
        """As `Bus.bucket`."""
        return self.bus.bucket(name)


def whoami() -> str:
    """The name under which a person's events are said where none is given."""
    return getpass.getuser()
