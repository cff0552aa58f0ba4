"""What a measured process counts with, and what it answers to who measures."""

import asyncio
import json
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """How long a number of hops took: seconds on the wall, and seconds that the process itself was on a core."""

    hops: int
    wall_s: float
    cpu_s: float


class Meter:
    """A gate in every handler of one process.

    Closed, it lets what was said pile up, with `at_once` messages in hand. Each line on standard input is a number of
    hops: it opens the gate, and the answer on standard output is how long they took, from the moment when all that can
    be in hand at once are, to the one when that many more came to their handler. So it wants `at_once` messages more.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._open = asyncio.Event()
        self._over = asyncio.Event()
        self._hops = 0
        self._passed = 0
        self._began = self._ended = (0.0, 0.0)

    async def passes(self) -> None:
        """A message came to its handler."""
        if not self._open.is_set():
            await self._open.wait()
        self._passed += 1
        if self._passed == self._at_once:
            self._began = (time.perf_counter(), time.process_time())
        elif self._passed == self._at_once + self._hops:
            self._ended = (time.perf_counter(), time.process_time())
            self._open.clear()
            self._over.set()

    async def serve(self) -> None:
        """Measure as often as it is asked, until standard input ends."""
        while line := await asyncio.to_thread(sys.stdin.readline):
            self._hops, self._passed = int(line), 0
            self._over.clear()
            self._open.set()
            await self._over.wait()
            wall_s, cpu_s = (end - begin for begin, end in zip(self._began, self._ended, strict=True))
            print(json.dumps({"hops": self._hops, "wall_s": wall_s, "cpu_s": cpu_s}), flush=True)
