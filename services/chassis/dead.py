"""The dead letters: the stream DEAD, and the two ways out of it, back to the durable that failed or away for good."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import nats.js.errors
from nats.js.api import RawStreamMsg

from contracts.envelope import Envelope, NotAnEvent
from contracts.events.message import MessageDiscarded, MessageReplayed
from contracts.topology import CONSUMERS, DEAD, Consumer, consumer
from services.chassis.bus import Bus
from services.chassis.errors import Rejected
from services.chassis.received import REDO_OF, REDO_ORIGIN, project_of, written_out

_PREFIX = "loopline-dead-"


class NoSuchLetter(Rejected):
    """There is no dead letter of that number, or no more."""


def printable(text: str, kept: str = "\n") -> str:
    """A stranger's text without what a terminal or a page would obey; of what cannot be seen only `kept` stays."""
    return "".join(c if c.isprintable() or c in kept else f"\\x{ord(c):02x}" for c in text)


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up. `id` is its sequence in DEAD; `stream` and `sequence` say where it was heard.

    `type` is empty when it is no event, `project` where its subject names none, `trace_id` where nothing was traced.
    `whole_bytes` is set when the body was too large to be kept beside the reason: `body` is only its beginning then.
    """

    id: int
    at: datetime
    durable: str
    stream: str
    sequence: int
    origin: str
    subject: str
    reason: str
    stack: str
    tries: int
    body: bytes
    headers: Mapping[str, str]
    envelope: Envelope | None
    trace_id: str
    whole_bytes: int | None = None

    @classmethod
    def read(cls, raw: RawStreamMsg) -> "DeadLetter":
        """From the stored message. One that was put there by hand, without our headers, is a letter too."""
        given = {name.lower(): value for name, value in (raw.headers or {}).items()}
        said = {name.removeprefix(_PREFIX): value for name, value in given.items() if name.startswith(_PREFIX)}
        _, stream, durable = (*(raw.subject or "").split(".", 2), "", "")[:3]
        stored_at = raw.time or datetime.now(UTC)
        stream, subject = said.get("stream", stream), said.get("subject", "")
        sequence = int(said.get("sequence", "0"))
        origin = said.get("origin", f"{stream}:{sequence}")
        try:
            envelope = Envelope.read(subject, raw.headers, stored_at=stored_at, position=origin)
        except NotAnEvent:
            envelope = None
        return cls(
            id=raw.seq or 0,
            at=datetime.fromisoformat(said["at"]) if "at" in said else stored_at,
            durable=said.get("durable", durable),
            stream=stream,
            sequence=sequence,
            origin=origin,
            subject=subject,
            reason=said.get("reason", ""),
            stack=said.get("stack", "").replace("\\n", "\n"),
            tries=int(said.get("tries", "1")),
            body=raw.data or b"",
            headers=written_out(raw.headers or {}, None),
            envelope=envelope,
            trace_id=said.get("trace", ""),
            whole_bytes=int(said["whole-bytes"]) if "whole-bytes" in said else None,
        )

    @property
    def type(self) -> str:
        """Of the event, such as `loopline.training.requested.v1`."""
        return self.envelope.type if self.envelope else ""

    @property
    def name(self) -> str:
        """The type as people say it: `training.requested`."""
        return self.type.removeprefix("loopline.").rpartition(".")[0]

    @property
    def project(self) -> str:
        """That it is about."""
        return project_of(self.subject)

    @property
    def service(self) -> str:
        """Whose durable gave up; empty for a durable that the topology no longer has."""
        return next((row.service for row in CONSUMERS if row.durable == self.durable), "")


@dataclass(frozen=True)
class Chosen:
    """Which letters are meant; what is None is not asked for. `type` is an event's name, `training.requested`, in any
    version; `since` a time of giving up.
    """

    project: str | None = None
    service: str | None = None
    type: str | None = None
    since: datetime | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant."""
        return (
            self.project in (None, letter.project)
            and self.service in (None, letter.service)
            and self.type in (None, letter.name)
            and (self.since is None or letter.at >= self.since)
        )


ALL = Chosen()


class DeadLetters:
    """Reads the stream DEAD and empties it, letter by letter."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def read(self, chosen: Chosen = ALL, *, after: int = 0) -> AsyncIterator[DeadLetter]:
        """The letters that are there, oldest first; those behind number `after`."""
        while True:
            try:
                raw = await self._bus.jetstream.get_msg(
                    DEAD, seq=after + 1, subject="loopline-dead.>", direct=True, next=True
                )
            except nats.js.errors.NotFoundError:
                return
            letter = DeadLetter.read(raw)
            after = letter.id
            if chosen.takes(letter):
                yield letter

    async def extent(self) -> tuple[int, int]:
        """How many letters there are, and the number of the last one that ever was."""
        state = (await self._bus.jetstream.stream_info(DEAD)).state
        return int(state.messages), int(state.last_seq)

    async def find(self, id_: int) -> DeadLetter:
        """One letter.

        Raises:
            NoSuchLetter: there is none of that number.
        """
        try:
            return DeadLetter.read(await self._bus.jetstream.get_msg(DEAD, seq=id_, direct=True))
        except nats.js.errors.NotFoundError:
            raise NoSuchLetter(f"there is no dead letter {id_}, or no more: see loopline dead list") from None

    async def replay(self, id_: int, by: str) -> DeadLetter:
        """Give a message back to the durable that failed, and to no one else; it then is no dead letter any more.

        It keeps its id, so that what it had caused already is found again. Replayed twice at once it is stored once.
        If it fails again it is a new letter.

        Raises:
            NoSuchLetter: there is none of that number.
            Rejected: it cannot be given back; the text says why.
        """
        letter = await self.find(id_)
        row = _row(letter)
        headers = {
            **letter.headers,
            REDO_OF: letter.subject,
            REDO_ORIGIN: letter.origin,
            "Nats-Msg-Id": f"redo|{id_}|{letter.at.isoformat()}",
        }
        await self._bus.store(row.redo_subject, letter.body, headers, row.stream)
        if letter.project:
            said = MessageReplayed(letter=id_, durable=letter.durable, type=letter.type, replayed_by=by)
            await self._bus.say(said, project=letter.project, cause=letter.envelope)
        await self._remove(id_)
        return letter

    async def discard(self, id_: int, why: str, by: str) -> DeadLetter:
        """Throw a message away: it will not be handled. `why` is kept in `message.discarded`.

        Raises:
            NoSuchLetter: there is none of that number.
        """
        letter = await self.find(id_)
        if letter.project:
            said = MessageDiscarded(letter=id_, durable=letter.durable, type=letter.type, why=why, discarded_by=by)
            await self._bus.say(said, project=letter.project, cause=letter.envelope)
        await self._remove(id_)
        return letter

    async def _remove(self, id_: int) -> None:
        try:
            await self._bus.jetstream.delete_msg(DEAD, id_)
        except nats.js.errors.APIError:
            # Gone is gone, whoever did it; a letter that is still there is an error.
            with suppress(NoSuchLetter):
                await self.find(id_)
                raise


def _row(letter: DeadLetter) -> Consumer:
    if letter.whole_bytes is not None:
        raise Rejected(
            f"dead letter {letter.id} cannot be replayed: of its {letter.whole_bytes:,} bytes only the beginning could "
            "be kept; say it again, an image by its URI"
        )
    try:
        return consumer(letter.durable)
    except KeyError:
        raise Rejected(
            f"dead letter {letter.id} cannot be replayed: no service has the durable {letter.durable} any more"
        ) from None
