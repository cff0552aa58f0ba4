"""nats-servers to kill: one, or three as a cluster."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path

import nats
from nats.aio.client import Client as Connection

from contracts.topology import LOOP
from deploy.embedded import servers, tethered
from deploy.embedded.probes import greets
from deploy.embedded.servers import HOST, free_port
from services.chassis.provisioning import provision
from tests.eventually import eventually

_START_S = 60.0


class Server:
    """One nats-server, which keeps its data when it is killed."""

    def __init__(self, name: str, port: int, command: tuple[str, ...], log: Path) -> None:
        self.name = name
        self.port = port
        self._command = tethered.command(command, tree=False)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it greets."""
        self._process = self._run()

        async def greeting() -> None:
            assert await asyncio.to_thread(greets, HOST, self.port), f"{self.name} does not greet: see {self._log}"

        await eventually(greeting, _START_S, 0.1)

    def _run(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as output:
            return subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT)

    async def kill(self) -> None:
        """`kill -9`."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)
            self._process = None


class Servers:
    """All nats-servers of a run: `count` is 1, or 3 for a cluster with three replicas of every stream."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        ports = [free_port() for _ in range(count)]
        routes = [free_port() for _ in range(count)]
        self.all = [
            Server(f"n{place}", ports[place], _command(folder, place, ports, routes), folder / f"n{place}.log")
            for place in range(count)
        ]

    @property
    def ports(self) -> list[int]:
        """Where they listen."""
        return [server.port for server in self.all]

    async def start(self) -> None:
        """Start all and make what the topology names."""
        await asyncio.gather(*(server.start() for server in self.all))
        connection = await self.connect("provisioning")
        try:
            await eventually(lambda: _provisioned(connection, self.count), _START_S, 0.5)
        finally:
            await connection.close()

    async def connect(self, name: str) -> Connection:
        """A connection that goes on for ever, to whichever server answers."""
        return await nats.connect(
            [f"nats://{HOST}:{port}" for port in self.ports],
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,
            ping_interval=5,
            error_cb=_ignored,
        )

    async def leader(self, connection: Connection) -> Server:
        """Who leads the stream LOOP."""
        info = await connection.jetstream(timeout=2).stream_info(LOOP)
        name = info.cluster.leader if info.cluster else None
        return next((server for server in self.all if server.name == name), self.all[0])

    async def stop(self) -> None:
        """End all."""
        await asyncio.gather(*(server.kill() for server in self.all))


async def _provisioned(connection: Connection, replicas: int) -> None:
    try:
        await provision(connection, replicas)
    except Exception as error:  # a cluster has no leader in its first seconds
        raise AssertionError(f"the bus could not be provisioned: {error}") from error


async def _ignored(error: Exception) -> None:
    """The client writes every lost connection to the log otherwise; here they are meant."""


def _command(folder: Path, place: int, ports: list[int], routes: list[int]) -> tuple[str, ...]:
    """As the embedded server is configured, and with two neighbours where there are any."""
    name = f"n{place}"
    command = servers.nats(folder / name, ports[place]).command
    path = Path(command[-1])
    config = json.loads(path.read_text())
    config["server_name"] = name
    if len(ports) > 1:
        config["cluster"] = {
            "name": "chaos",
            "host": HOST,
            "port": routes[place],
            "routes": [f"nats://{HOST}:{route}" for route in routes],
            # A client that were told of the servers would go round the link that is cut.
            "no_advertise": True,
        }
    path.write_text(json.dumps(config))
    return command
