"""What a service does by itself: jobs that come again, held by one replica at a time, and things that always run."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import nats.errors
import nats.js.errors

from contracts.topology import CLAIMS
from services.chassis.bus import Bus
from services.chassis.ending import end
from services.chassis.errors import Away
from services.chassis.kv import Bucket, Conflict, KeyExists

log = logging.getLogger(__name__)

LEASE_S = 6.0
_PAUSE_AFTER_ERROR_S = 1.0
_LEAST_REST_S = 0.2


def replica() -> str:
    """The name of this process among its replicas: `<host>/<pid>`."""
    return f"{socket.gethostname()}/{os.getpid()}"


@dataclass(frozen=True)
class Job:
    """Something to do every `period_s` seconds."""

    name: str
    period_s: float
    do: Callable[[], Awaitable[None]]
    _hint: asyncio.Event = field(default_factory=asyncio.Event, repr=False, compare=False)

    def soon(self) -> None:
        """Do not wait for the rest of the period: there may be something to do."""
        self._hint.set()

    async def rest(self) -> None:
        """Wait for the period to pass, or for a hint; a moment at least, so that many hints are one."""
        least = min(_LEAST_REST_S, self.period_s)
        await asyncio.sleep(least)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hint.wait(), self.period_s - least)
        self._hint.clear()


class Jobs:
    """The jobs of one process."""

    def __init__(self, service: str, bus: Bus) -> None:
        self._service = service
        self._bus = bus
        self._todo: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, job: Job) -> None:
        """Do `job` in turn with the other replicas: whoever holds the lease does it."""
        self._todo.append((job.name, lambda: self._again_and_again(job)))

    def background(self, name: str, forever: Callable[[], Awaitable[None]]) -> None:
        """Run `forever` in every replica; begun anew when it ends or raises."""
        self._todo.append((name, forever))

    def start(self) -> None:
        """Begin all of them."""
        self._tasks = [asyncio.create_task(self._kept_up(name, forever), name=name) for name, forever in self._todo]

    async def stop(self) -> None:
        """Cancel all of them and wait until they have ended."""
        await end(self._tasks)

    async def _kept_up(self, name: str, forever: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await forever()
            except Exception as error:
                log.exception("%s was interrupted, begins anew: %s", name, error)
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)

    async def _again_and_again(self, job: Job) -> None:
        lease = Lease(self._bus.bucket(CLAIMS), f"lease.{self._service}.{job.name}", self._bus)
        told = ""
        try:
            while True:
                if await lease.hold():
                    try:
                        await self._do(job, lease)
                        told = ""
                    except Exception as error:
                        # The same trouble every second is told once.
                        if str(error) != told:
                            # Who is away is named in the text; a stack would say no more.
                            stack = None if isinstance(error, Away) else error
                            log.warning("%s failed, again in %s s: %s", job.name, job.period_s, error, exc_info=stack)
                        told = str(error)
                await job.rest()
        finally:
            await lease.give_up()

    async def _do(self, job: Job, lease: "Lease") -> None:
        """The job, with the lease renewed while it lasts; the job is cancelled when the lease is lost."""
        work = asyncio.ensure_future(job.do())
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=LEASE_S / 3)
                if not work.done() and not await lease.hold():
                    raise RuntimeError(f"the lease on {job.name} was lost to another replica")
            await work
        finally:
            await end([work])


class Lease:
    """A key in KV that names who may work, and until when, by clocks that agree to a second or two."""

    def __init__(self, bucket: Bucket, key: str, bus: Bus) -> None:
        self._bucket = bucket
        self._key = key
        self._bus = bus

    async def hold(self) -> bool:
        """Take or renew the lease; False when another replica has it, or the bus does not answer."""
        now = self._bus.now()
        mine = {"owner": replica(), "until": (now + timedelta(seconds=LEASE_S)).isoformat()}
        try:
            found = await self._bucket.get(self._key)
            if found is None:
                await self._bucket.create(self._key, mine)
                return True
            value, revision = found
            if value["owner"] != replica() and value["until"] > now.isoformat():
                return False
            await self._bucket.put(self._key, mine, revision)
            return True
        except (KeyExists, Conflict):
            return False
        except (nats.errors.Error, nats.js.errors.Error) as error:
            log.warning("the lease %s could not be renewed: %s", self._key, error)
            return False

    async def give_up(self) -> None:
        """Let the next replica have it at once."""
        try:
            found = await self._bucket.get(self._key)
            if found and found[0]["owner"] == replica():
                await self._bucket.put(self._key, {**found[0], "until": ""}, found[1])
        except (Conflict, nats.errors.Error, nats.js.errors.Error) as error:
            log.info("the lease %s could not be given up, it runs out by itself: %s", self._key, error)
