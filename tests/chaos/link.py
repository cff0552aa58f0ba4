"""The network between one process and the bus: a TCP proxy that can be cut and mended."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal

from deploy.embedded.servers import HOST
from tests.eventually import eventually

How = Literal["closed", "silent"]

_CHUNK = 65_536


class Link:
    """One listening port for each server behind it.

    Cut `closed`, connections break and nobody answers. Cut `silent`, nobody is told: whatever is written is swallowed,
    as by a firewall that has forgotten the connection. Those connections stay dead after the cut is mended.
    """

    def __init__(self, servers: Sequence[int]) -> None:
        self._servers = tuple(servers)
        self._listening: list[asyncio.Server] = []
        self._open: set[_Connection] = set()
        self._cut: How | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    async def start(self) -> list[int]:
        """Listen; the ports, in the order of the servers."""
        for server in self._servers:
            accept = self._accepting(server)
            self._listening.append(await asyncio.start_server(accept, HOST, 0))
        return [listening.sockets[0].getsockname()[1] for listening in self._listening]

    def cut(self, how: How) -> None:
        """From now on nothing passes."""
        self._cut = how
        for connection in list(self._open):
            connection.cut(how)

    def mend(self) -> None:
        """New connections pass again."""
        self._cut = None

    async def stop(self) -> None:
        """Close everything."""
        for listening in self._listening:
            listening.close()
        self.cut("closed")
        await eventually(self._all_ended)

    def _all_ended(self) -> None:
        assert not self._open

    def _accepting(self, server: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._cut == "closed":
                writer.transport.abort()
                return
            connection = _Connection(reader, writer, swallows=self._cut == "silent")
            self._open.add(connection)
            try:
                await connection.run(server)
            finally:
                self._open.discard(connection)

        return accept


class _Connection:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallows: bool) -> None:
        self._reader, self._writer = reader, writer
        self._swallowing = asyncio.Event()
        if swallows:
            self._swallowing.set()
        self._ends = [writer]

    def cut(self, how: How) -> None:
        if how == "silent":
            self._swallowing.set()
            return
        for end in self._ends:
            end.transport.abort()

    async def run(self, server: int) -> None:
        """Carry bytes both ways until one side closes."""
        with suppress(OSError):
            if self._swallowing.is_set():
                await self._carry(self._reader, self._writer)
                return
            reader, writer = await asyncio.open_connection(HOST, server)
            self._ends.append(writer)
            there = asyncio.create_task(self._carry(self._reader, writer))
            back = asyncio.create_task(self._carry(reader, self._writer))
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            if self._swallowing.is_set():
                await there  # the other end's end is swallowed, too
            self.cut("closed")
            await asyncio.wait({there, back})
        self.cut("closed")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if not self._swallowing.is_set():
                    writer.write(data)
                    await writer.drain()
