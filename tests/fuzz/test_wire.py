"""Raw NATS messages through the real server: headers and bodies that no client library would send."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.training import TrainingRequested
from contracts.topology import DEAD
from deploy.embedded import servers
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.heard import Heard
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.fuzz.messages import SECRET
from tests.servers import running

pytestmark = pytest.mark.integration

LONG = bool(os.environ.get("LONG"))
CASES = 2_000 if LONG else 150
LIMIT = 1024 * 1024

_LINES = [
    b"ce-id: one", b"ce-id:", b"ce-id", b": x", b" ce-id: x", b"(a): b", b"\x01: x", b"\xff\xfe: x", b"ce-hops: 33",
    b"ce-hops: -1", b"ce-hops: " + b"9" * 5_000, b"ce-time: 0001-01-01T00:00:00+23:59", b"ce-subject: lunar",
    b"ce-type: loopline.training.requested.v9", b"ce-source: \xff\x00\x7f", b"ce-correlationid: a b",
    b"traceparent: \xff", b"Nats-Scheduler: x", b"folded: a\r\n b", b"x: " + b"y" * 10_000, b"Status: 503",
    b"ce-id: one\nce-hops: 40", b"Status: 500", b"Status: 100", b"Status: 404", b"x: y", b"a: b", b"c: d", b"e: f",
]  # fmt: skip
# Each of these alone would stop every reader of the stream, if nats-py were left to itself.
_POISON = [
    *(b"NATS/1.0\r\nStatus: %d\r\n\r\n" % status for status in (100, 404, 408, 409, 500, 503)),
    b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 503 \xff\r\n\r\n", b"NATS/1.0 \xff\xff\r\n\r\n", b"\r\n\r\n", b"\r\n",
]  # fmt: skip
_FIRST = [
    *[b"NATS/1.0"] * 12, b"NATS/1.0 503", b"NATS/1.0 100 Idle", b"NATS/1.0 404 No Messages", b"NATS/1.0 500 x",
    b"NATS/1.0 \xff\xff", b"NATS/1.0 503 \xff", b"NATS/1.0503", b"HTTP/1.1 200 OK", b"",
]  # fmt: skip
_BODIES = [b"{}", b"{}", b'{"why": "x"}', b"", b"\x00\xff", b"\r\n", b"-ERR 'x'\r\n", b"PING\r\n", b"[" * 5_000]


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    port = servers.free_port()
    user = {"user": "test", "password": SECRET}
    with running(servers.nats(tmp_path / "nats", port, user), tmp_path / "nats.log"):
        found = Settings(
            nats_url=f"nats://{servers.HOST}:{port}",
            nats_user="test",
            nats_password=SecretStr(SECRET),
            blobs_root=str(tmp_path / "blobs"),
        )
        connection = await connect(found, "provisioner")
        await provision(connection)
        await connection.close()
        yield found


async def test_whatever_is_sent_is_settled_and_the_connection_holds(settings: Settings) -> None:
    heard: list[str] = []
    service = Service("trainer", settings)

    async def on_event(event: Event, about: Heard) -> list[Event]:
        assert isinstance(event, TrainingRequested)
        heard.append(event.why)
        return []

    service.hear("trainer-training", {TrainingRequested: on_event, DatasetVersioned: on_event})
    async with service.app().start_lifespan_context(), Client.connect(settings, "test") as client:
        for message in _messages():
            await _send(settings, message)

        async def settled() -> None:
            (state,) = [one for one in await client.consumers() if one.durable == "trainer-training"]
            assert state.pending + state.unacked == 0

        await eventually(settled, timeout_s=60)
        stored = (await client.bus.jetstream.stream_info("LOOP", subjects_filter="loopline.solar.training.>")).state
        letters = await client.dead_count()
        for seq in range(1, letters + 1):
            letter = await client.bus.jetstream.get_msg(DEAD, seq)
            assert letter.headers
            reason = letter.headers["loopline-dead-reason"]
            assert reason.isprintable() and len(reason) > 20, ascii(reason)  # noqa: PT018
            assert SECRET not in str(letter.headers)
        assert service.bus.connection.stats["reconnects"] == 0
        kept = sum((stored.subjects or {}).values())
        print(f"\nwire: {CASES} sent, {kept} stored, {len(heard)} heard, {letters} dead letters")
        assert heard
        assert letters
        assert len(heard) + letters == kept
        assert {f"poison {number}" for number in range(len(_POISON))} <= set(heard)


def _messages() -> list[bytes]:
    seed = random.randrange(2**32) if LONG else 7
    print(f"\nseed {seed}")
    choose = random.Random(seed)
    found = [_hpub(poison, b'{"why": "poison %d"}' % number) for number, poison in enumerate(_POISON)]
    for _ in range(CASES):
        lines = choose.sample(_LINES, choose.randint(0, 3))
        headers = b"\r\n".join([choose.choice(_FIRST), *lines, b"", b""])
        found.append(_hpub(headers, choose.choice(_BODIES)))
    # As large as the server takes: a dead letter of it has headers more.
    empty = b"NATS/1.0\r\nx: y\r\n\r\n"
    found.append(_hpub(empty, b"x" * (LIMIT - len(empty))))
    # A stream takes 64 KiB of headers, and a dead letter has some more than its message.
    found.append(_hpub(b"NATS/1.0\r\nx: " + b"y" * 65_400 + b"\r\nce-hops: 33\r\n\r\n", b"{}"))
    return found


def _hpub(headers: bytes, body: bytes) -> bytes:
    sizes = b"%d %d" % (len(headers), len(headers) + len(body))
    return b"HPUB loopline.solar.training.requested " + sizes + b"\r\n" + headers + body + b"\r\n"


async def _send(settings: Settings, message: bytes) -> None:
    """On a connection of its own, since the server closes it where it does not like what it gets."""
    host, _, port = settings.nats_url.removeprefix("nats://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    options = f'{{"verbose":false,"user":"test","pass":"{SECRET}","headers":true,"no_responders":true}}'
    writer.write(b"CONNECT " + options.encode() + b"\r\n" + message + b"PING\r\n")
    async with asyncio.timeout(20):
        while line := await reader.readline():
            if line.startswith((b"PONG", b"-ERR")):
                break
    writer.close()
