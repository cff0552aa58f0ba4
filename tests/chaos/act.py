"""One act: a bus, the services on it, a project, blows while it works, and the accountant's word at the end."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
import nats.errors
import nats.js.errors
from nats.aio.client import Client as Connection

from contracts.topology import LOOP
from services.chassis.client import Client
from services.chassis.ending import end
from services.chassis.settings import Settings
from tests.chaos.accountant import audit
from tests.chaos.books import Books, Finding
from tests.chaos.buses import Servers
from tests.chaos.collecting import read_books, waiting
from tests.chaos.fleet import Fleet
from tests.chaos.load import Amounts, Load
from tests.chaos.schedule import Blow, Cut, Kill, KillServer, schedule
from tests.chaos.surroundings import Surroundings
from tests.chaos.telling import counted

Say = Callable[[str], None]

# Nothing is said for so long once all is done: longer than a card's patience, after which it would freeze or ask.
_QUIET_S = 12.0
# What is found so often in a row does not mend itself.
_LOOKS = 3
_TELL_S = 15.0


@dataclass(frozen=True)
class Plan:
    """How long and how hard. `settle_s` is how long the loop may take to come to rest afterwards."""

    servers: int
    kills: int
    restarts: int
    cuts: int
    amounts: Amounts
    settle_s: float


@dataclass(frozen=True)
class Outcome:
    """What was done to the loop, what was counted, and what the accountant found."""

    servers: int
    kills: dict[str, int]
    died: dict[str, int]
    restarts: int
    cuts: dict[str, int]
    counted: dict[str, int]
    repeats: int
    settled_s: float
    findings: list[Finding]


class Act:
    """A run of one plan in a folder of its own."""

    def __init__(self, plan: Plan, project: str, random: Random, around: Surroundings, folder: Path, say: Say) -> None:
        self._plan = plan
        self._project = project
        self._random = random
        self._around = around
        self._folder = folder
        self._say = say
        self._servers = Servers(folder, plan.servers)
        self._fleet = Fleet(self._servers.ports, around.settings, folder / "log")
        self._restarts = 0
        self._cuts: Counter[str] = Counter()
        self._server_lock = asyncio.Lock()

    async def run(self) -> Outcome:
        """All of it.

        Raises:
            TimeoutError: the loop did not do its first turn, before anything was killed.
        """
        await self._servers.start()
        try:
            await self._fleet.start()
            connection = await self._servers.connect("chaos")
            try:
                return await self._with(connection)
            finally:
                await connection.close()
        finally:
            for name in await self._fleet.stop():
                self._say(f"{self._project}: {name} did not end when it was asked to")
            await self._servers.stop()

    async def _with(self, connection: Connection) -> Outcome:
        settings = Settings.model_validate({"blobs_root": str(self._around.blobs)})
        client = Client(connection, settings, "chaos")
        load = Load(
            client, self._project, self._around.mlflow_url, self._around.label_studio_url,
            self._around.label_studio_token, self._plan.amounts,
        )  # fmt: skip
        self._say(f"{self._project}: services start, the first turn")
        inspecting = asyncio.create_task(load.inspect())
        telling = asyncio.create_task(self._tell(client, load))
        keeping = asyncio.create_task(self._fleet.keep_up())
        try:
            async with asyncio.timeout(180):
                await load.begin()
            self._say(f"{self._project}: a model serves, so let things die")
            await asyncio.gather(load.run(), self._strike(client))
            began = time.monotonic()
            books, findings = await self._settle(client, load)
        finally:
            await end([inspecting, telling, keeping])
        return Outcome(
            servers=self._plan.servers,
            kills=dict(self._fleet.kills),
            died=dict(self._fleet.died),
            restarts=self._restarts,
            cuts=dict(self._cuts),
            counted=counted(books),
            repeats=load.speaker.repeats,
            settled_s=round(time.monotonic() - began, 1),
            findings=findings,
        )

    # Blows

    async def _strike(self, client: Client) -> None:
        plan = self._plan
        blows = schedule(
            self._random, for_s=plan.amounts.for_s, kills=plan.kills, restarts=plan.restarts, cuts=plan.cuts,
            servers=plan.servers,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        began = loop.time()
        falling = []
        for blow in blows:
            await asyncio.sleep(began + blow.at_s - loop.time())
            falling.append(asyncio.create_task(self._fall(blow, client)))
        await asyncio.gather(*falling)

    async def _fall(self, blow: Blow, client: Client) -> None:
        """One blow, to its end: what it broke works again then."""
        match blow:
            case Kill(service=service, replica=number, down_s=down_s):
                replica = await self._fleet.kill(service, number)
                await asyncio.sleep(down_s)
                replica.start()
            case Cut(service=service, replica=number, how=how, for_s=for_s):
                link = self._fleet.replica(service, number).link
                link.cut(how)
                await asyncio.sleep(for_s)
                link.mend()
                self._cuts[how] += 1
            case KillServer():
                await self._kill_server(blow, client)

    async def _kill_server(self, blow: KillServer, client: Client) -> None:
        async with self._server_lock:
            victims = [self._servers.all[blow.place]]
            if blow.victim == "all":
                victims = self._servers.all
            elif blow.victim == "leader":
                with suppress(nats.errors.Error, nats.js.errors.Error):  # no leader just now: then any
                    victims = [await self._servers.leader(client.bus.connection)]
            await asyncio.gather(*(server.kill() for server in victims))
            await asyncio.sleep(blow.down_s)
            await asyncio.gather(*(server.start() for server in victims))
            self._restarts += len(victims)

    # Rest

    async def _settle(self, client: Client, load: Load) -> tuple[Books, list[Finding]]:
        """Wait until everybody is ready, nothing waits, nothing is said any more, and the accountant finds nothing.

        What is open when the time is over is what the accountant says then.
        """
        self._say(f"{self._project}: nothing dies any more, waits until all is done")
        loop = asyncio.get_running_loop()
        until = loop.time() + self._plan.settle_s
        said, since = -1, loop.time()
        findings: list[Finding] = []
        looks = 0
        while True:
            over = loop.time() > until
            try:
                last = (await client.bus.jetstream.stream_info(LOOP)).state.last_seq
                at_work = [f"{one.durable}: {one.pending} waiting, {one.unacked} unacked"
                           for one in await waiting(client) if one.pending or one.unacked]  # fmt: skip
                at_work += [f"{name} is not ready" for name in await self._fleet.not_ready()]
                if at_work or last != said:
                    said, since = last, loop.time()
                if over or loop.time() - since > _QUIET_S:
                    books = await self._read(client, load)
                    before, findings = findings, audit(books)
                    findings += [Finding("unsettled", what) for what in at_work if "not ready" in what]
                    looks = looks + 1 if findings == before else 1
                    if over or not findings or looks == _LOOKS:
                        return books, findings
                    self._say(f"{self._project}: {len(findings)} findings so far, looks again: {findings[0].what}")
                    since = loop.time()  # the last facts may be on their way
            except (nats.errors.Error, nats.js.errors.Error, httpx.HTTPError) as error:
                if over:
                    raise
                self._say(f"{self._project}: looks again: {error!r}")
            await asyncio.sleep(0.5)

    async def _read(self, client: Client, load: Load) -> Books:
        async with self._around.studio() as studio:
            return await read_books(
                client, self._project, self._around.mlflow_url, studio, load.speaker.sent, load.speaker.injected
            )

    async def _tell(self, client: Client, load: Load) -> None:
        """A line of progress now and then."""
        while True:
            await asyncio.sleep(_TELL_S)
            try:
                open_ = [f"{one.durable} {one.pending}+{one.unacked}"
                         for one in await waiting(client) if one.pending or one.unacked]  # fmt: skip
            except (nats.errors.Error, nats.js.errors.Error) as error:
                open_ = [f"the bus does not answer ({type(error).__name__})"]
            self._say(
                f"{self._project}: said {len(load.speaker.sent)}, labelled {load.inspected}, "
                f"killed {self._fleet.kills.total()} services and {self._restarts} servers, "
                f"cut {self._cuts.total()}; open: {', '.join(open_) or 'nothing'}"
            )
