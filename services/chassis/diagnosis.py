"""What is wrong with the bus, from outside in: reach it, agree with it, keep up with it, and who is there."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo

from contracts.topology import DEAD, LOOP, SCHEDULES, SERVICES, schedule_subject
from services.chassis import agreement
from services.chassis.connection import connect
from services.chassis.errors import NotAllowed, Unreachable
from services.chassis.finding import Finding
from services.chassis.limits import no_room
from services.chassis.presence import Alive, alive, contracts_hash
from services.chassis.refusals import Refusals, jetstream
from services.chassis.settings import Settings
from services.chassis.store_mark import mark_of

# Leases and the times in events allow for a second or two.
SKEW_S = 2.0
_TIMEOUT_S = 5.0

Now = Callable[[], datetime]


@dataclass(frozen=True)
class _Look:
    connection: Client
    jetstream: JetStreamContext
    refusals: Refusals
    settings: Settings
    now: Now


def now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


async def bus(settings: Settings, clock: Now = now) -> AsyncIterator[Finding]:
    """Everything about the bus; ends early where there is no way on."""
    try:
        connection = await connect(settings, "doctor")
    except Unreachable as error:
        fault, _, do = str(error).partition(": ")
        yield Finding("NATS", fault, do)
        return
    try:
        yield Finding("NATS")
        refusals = Refusals()
        refusals.listen(connection)
        mine = _Look(connection, jetstream(connection, refusals, _TIMEOUT_S), refusals, settings, clock)
        for check in (_clock, _agreement, _stores, _letters, _presence):
            try:
                for finding in await check(mine):
                    yield finding
            except NotAllowed as error:
                who = settings.nats_user or "without a name"
                yield Finding("rights on the bus", f"the user {who} is {error}", "set LOOPLINE_NATS_USER to cli")
                return
            except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
                yield Finding("JetStream", f"it does not answer: {error}", "look into the log of nats-server")
                return
    finally:
        await connection.close()


async def _clock(mine: _Look) -> list[Finding]:
    """The server's clock beside ours, by the time that it writes on every answer."""
    before = mine.now()
    with mine.refusals.watched(f"$JS.API.STREAM.INFO.{LOOP}"):
        answer = await mine.connection.request(f"$JS.API.STREAM.INFO.{LOOP}", b"", timeout=_TIMEOUT_S)
    told = json.loads(answer.data).get("ts")
    if not told:
        return []
    after = mine.now()
    theirs = datetime.fromisoformat(told)
    return [skew("clock of NATS", theirs, before + (after - before) / 2)]


def skew(what: str, theirs: datetime, ours: datetime, allowed_s: float = SKEW_S) -> Finding:
    """Two clocks beside each other."""
    seconds = (theirs - ours).total_seconds()
    if abs(seconds) <= allowed_s:
        return Finding(what)
    fault = f"it is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"
    return Finding(what, fault, "set both by NTP: claims of services are given up and taken by the clock")


async def _agreement(mine: _Look) -> list[Finding]:
    replicas = mine.settings.replicas
    found = await agreement.streams(mine.jetstream, replicas, mine.settings.streams)
    of_durables, first = await agreement.durables(mine.jetstream)
    found += await agreement.buckets(mine.jetstream, replicas)
    await asyncio.sleep(1)
    _, second = await agreement.durables(mine.jetstream)
    behind = {finding.what: finding for finding in _behind(first, second)}
    return found + [finding if finding.fault else behind.get(finding.what, finding) for finding in of_durables]


def _behind(first: dict[str, ConsumerInfo], second: dict[str, ConsumerInfo]) -> Iterable[Finding]:
    """Durables of which more waits than a second before, or at which nobody takes what waits."""
    for durable, later in second.items():
        waiting, before = later.num_pending or 0, first[durable].num_pending or 0
        if waiting > before > 0:
            do = "start another replica of its service, or send less"
            yield Finding(f"durable {durable}", f"{waiting} messages wait, {waiting - before} more in a second", do)
        elif waiting and not later.num_waiting and not later.num_ack_pending:
            do = "start its service, or look into its log"
            yield Finding(f"durable {durable}", f"{waiting} messages wait, and nobody takes them", do)


async def _stores(mine: _Look) -> list[Finding]:
    """Whether the server takes a message: a store that is full is not to be seen from anything else.

    A small one: a write that a full disk refuses ends the stream that it was meant for, until the next restart.
    """
    what = "store of NATS"
    full = "free some space on its disk or raise max_file_store, then restart nats-server"
    subject = schedule_subject("doctor", "probe")
    headers = {"Nats-Rollup": "sub", "Nats-Msg-Id": str(uuid4())}
    try:
        await mine.jetstream.publish(subject, b"", timeout=_TIMEOUT_S, stream=SCHEDULES, headers=headers)
    except nats.js.errors.NoStreamResponseError:
        return []  # told as a stream that is missing
    except nats.js.errors.APIError as error:
        if not no_room(error, SCHEDULES):
            raise
        return [Finding(what, "there is no room for another message", full)]
    except nats.errors.TimeoutError:
        # What nats-server 2.15 does after a write to a full disk, also when there is room again.
        return [Finding(what, "it answers questions but stores nothing: its disk is, or was, full", full)]
    return [Finding(what)]


async def _letters(mine: _Look) -> list[Finding]:
    try:
        count = (await mine.jetstream.stream_info(DEAD)).state.messages
    except nats.js.errors.NotFoundError:
        return []
    if not count:
        return [Finding("dead letters")]
    return [Finding("dead letters", f"there are {count}", "loopline dead list, then replay or discard them")]


async def _presence(mine: _Look) -> list[Finding]:
    mark = await mark_of(mine.settings.blobs_root)
    return list(present(await alive(mine.connection), contracts_hash(), mark))


def present(answered: Iterable[Alive], contracts: str, blobs: str) -> Iterable[Finding]:
    """Each service: whether it runs, knows the words that we know, and has the blob store that we have."""
    found: dict[str, list[Alive]] = {name: [] for name in SERVICES}
    for one in answered:
        found.setdefault(one.name, []).append(one)
    for name in SERVICES:
        ours = found[name]
        old = [one for one in ours if one.contracts != contracts]
        what = f"service {name}"
        if not ours:
            yield Finding(what, "it does not answer: it is not running", "./taskw up, or look into its log")
        elif old:
            versions = ", ".join(f"{count} of version {v}" for v, count in Counter(one.version for one in old).items())
            fault = f"{versions} know other events or fields than this command"
            yield Finding(what, fault, "upgrade this service, or this command, whichever is the older")
        elif others := [one.replica for one in ours if blobs and one.blobs and one.blobs != blobs]:
            fault = f"{', '.join(others)} has another blob store than this command"
            yield Finding(what, fault, "set LOOPLINE_BLOBS_ROOT to one store for all")
        else:
            yield Finding(f"{what} ({len(ours)} running)")
