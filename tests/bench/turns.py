"""Stations of `bench:bus`, each with a process and a nats-server of its own, and their taking turns."""

import asyncio
import json
import os
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from nats.aio.client import Client as Connection

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.topology import DEPLOYMENTS
from deploy.embedded import servers
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.bench.meter import Measured
from tests.bench.predictions import ROUTE
from tests.e2e.stack import ROOT
from tests.servers import running

PROJECT = "bench"
TRACED = 0.1


@dataclass
class Station:
    """A process that is measured. What it hears is `event(number)`, a share of it inside a trace that is kept.

    `traced` None: what it hears is in no trace, and the station decides which of its own it keeps.
    """

    name: str
    at_once: int
    event: Callable[[int], Event]
    traced: float | None
    connection: Connection
    process: Process
    said: int = 0

    async def measure(self, hops: int) -> Measured:
        """Let it hear so many events, all of which lie there when it begins."""
        jetstream = self.connection.jetstream()
        stored = []
        for number in range(self.said, self.said + hops + self.at_once):
            event = self.event(number)
            envelope = _envelope(event, number, self.traced)
            body = event.model_dump_json().encode()
            stored.append(await jetstream.publish_async(envelope.subject, body, headers=envelope.headers()))
        await asyncio.gather(*stored)
        self.said += len(stored)
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{hops}\n".encode())
        answer = await self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the station {self.name} ended with {await self.process.wait()}: see its log")
        return Measured(**json.loads(answer))


def _envelope(event: Event, number: int, traced: float | None) -> Envelope:
    said = Envelope.first(event, project=PROJECT, source="/bench", id=str(uuid4()), time=datetime.now(UTC))
    if traced is None:
        return said
    kept = int((number + 1) * traced) > int(number * traced)
    return said.traced(f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{int(kept):02d}", None)


@asynccontextmanager
async def station(
    kind: str,
    folder: Path,
    at_once: int,
    event: Callable[[int], Event],
    *,
    traced: float | None = TRACED,
    traces: bool = False,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Station]:
    """A station that waits, with its nats-server; everything is under `folder`, its log in `folder/log`.

    `traces` says whether it writes spans, as a service of the embedded stack does.
    """
    (folder / "blobs").mkdir(parents=True)
    port = servers.free_port()
    told = {
        "LOOPLINE_VAR": str(folder),
        "LOOPLINE_NATS_URL": f"nats://{servers.HOST}:{port}",
        "LOOPLINE_BLOBS_ROOT": str(folder / "blobs"),
        "LOOPLINE_TRACES_DIR": str(folder / "traces") if traces else "",
        **(env or {}),
    }
    with running(servers.nats(folder / "nats", port), folder / "nats.log"), (folder / "log").open("wb") as log:
        connection = await connect(Settings(nats_url=told["LOOPLINE_NATS_URL"], nats_user=""), "bench")
        await provision(connection)
        await (await connection.jetstream().key_value(DEPLOYMENTS)).put(PROJECT, json.dumps(ROUTE).encode())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.stations", kind,
            cwd=ROOT, env={**os.environ, **told}, stdin=PIPE, stdout=PIPE, stderr=log,
        )  # fmt: skip
        try:
            yield Station(folder.name, at_once, event, traced, connection, process)
        finally:
            await process.communicate(b"")  # ends its standard input, and with it the station
            await connection.close()


async def in_turns(stations: Sequence[Station], hops: int, rounds: int) -> dict[str, list[Measured]]:
    """All stations in each round, one after the other, each round beginning with another; the first round warms up."""
    found: dict[str, list[Measured]] = {one.name: [] for one in stations}
    for round_ in range(rounds + 1):
        first = round_ % len(stations)
        for one in (*stations[first:], *stations[:first]):
            measured = await one.measure(hops)
            if round_:
                found[one.name].append(measured)
    return found
