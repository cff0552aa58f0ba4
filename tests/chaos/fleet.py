"""The six services, each as processes of its own behind a link that can be cut."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from contracts.topology import SERVICES
from deploy.embedded import tethered
from deploy.embedded.probes import answers
from deploy.embedded.servers import HOST, ROOT, free_port
from tests.chaos.link import Link

REPLICAS = 2

# A service has 10 s; the machine may be busy.
_STOP_S = 30.0


class Replica:
    """One process of a service, started anew whenever it was killed."""

    def __init__(self, service: str, number: int, link: Link, env: Mapping[str, str], log: Path) -> None:
        self.service = service
        self.name = f"{service}-{number}"
        self.link = link
        self._http_port = free_port()
        self._env = {**env, "LOOPLINE_HTTP_PORT": str(self._http_port)}
        self._log = log / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; does not wait until it is ready."""
        module = f"services.{self.service.replace('-', '_')}"
        command = tethered.command((sys.executable, "-m", module), tree=False)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=self._env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    async def kill(self) -> bool:
        """`kill -9`; False when there is nothing to kill."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return False
        process.kill()
        await asyncio.to_thread(process.wait)
        return True

    async def stop(self) -> bool:
        """Ask it to end; killed, and False, when it has not after half a minute."""
        process, self._process = self._process, None
        if process is None:
            return True
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, _STOP_S)
            return True
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
            return False

    @property
    def died(self) -> bool:
        """Whether it ended without having been told to."""
        return self._process is not None and self._process.poll() is not None

    async def ready(self) -> bool:
        """Whether it says of itself that it does its work."""
        return await asyncio.to_thread(answers, f"http://{HOST}:{self._http_port}/health/ready")


class Fleet:
    """All replicas of all services. `kills` counts what was killed, `died` what ended without having been told to."""

    def __init__(self, servers: list[int], settings: Mapping[str, str], log: Path) -> None:
        self._servers = servers
        self._settings = settings
        self._log = log
        self.replicas: list[Replica] = []
        self.kills: Counter[str] = Counter()
        self.died: Counter[str] = Counter()

    async def start(self) -> None:
        """Start every replica of every service."""
        self._log.mkdir(parents=True, exist_ok=True)
        own = {key: value for key, value in os.environ.items() if not key.startswith(("LOOPLINE_", "OTEL_"))}
        for service in SERVICES:
            for number in range(REPLICAS):
                link = Link(self._servers)
                ports = await link.start()
                url = ",".join(f"nats://{HOST}:{port}" for port in ports)
                env = {**own, **self._settings, "LOOPLINE_NATS_URL": url, "PYTHONPATH": str(ROOT)}
                self.replicas.append(Replica(service, number, link, env, self._log))
        for replica in self.replicas:
            replica.start()

    def replica(self, service: str, number: int) -> Replica:
        """One of them."""
        return next(one for one in self.replicas if one.name == f"{service}-{number}")

    async def kill(self, service: str, number: int) -> Replica:
        """`kill -9` one; returns it, to be started again."""
        replica = self.replica(service, number)
        self.kills[service] += await replica.kill()
        return replica

    async def keep_up(self) -> None:
        """Start whatever ended by itself anew, for ever: as a supervisor does."""
        while True:
            for replica in self.replicas:
                if replica.died:
                    self.died[replica.service] += 1
                    replica.start()
            await asyncio.sleep(1)

    async def not_ready(self) -> list[str]:
        """Who does not say that it is ready."""
        states = await asyncio.gather(*(replica.ready() for replica in self.replicas))
        return [replica.name for replica, ready in zip(self.replicas, states, strict=True) if not ready]

    async def stop(self) -> list[str]:
        """Ask all to end; the names of those that had to be killed."""
        ended = await asyncio.gather(*(replica.stop() for replica in self.replicas))
        await asyncio.gather(*(replica.link.stop() for replica in self.replicas))
        return [replica.name for replica, well in zip(self.replicas, ended, strict=True) if not well]
