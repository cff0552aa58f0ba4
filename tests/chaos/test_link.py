"""The network that can be cut: what passes, what breaks, and what is swallowed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deploy.embedded.servers import HOST
from tests.chaos.link import Link
from tests.eventually import eventually

PATIENCE_S = 0.3


@asynccontextmanager
async def echo_behind_a_link() -> AsyncIterator[tuple[Link, int]]:
    """A link to a server that says everything back, and its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    link = Link([server.sockets[0].getsockname()[1]])
    (port,) = await link.start()
    try:
        yield link, port
    finally:
        await link.stop()
        server.close()


class Caller:
    """A client of the echo."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def at(cls, port: int) -> "Caller":
        return cls(*await asyncio.open_connection(HOST, port))

    async def echoed(self) -> bytes:
        """What comes back; b"" when the connection is over."""
        self.writer.write(b"hello")
        return await asyncio.wait_for(self.reader.read(100), PATIENCE_S * 10)

    async def is_broken(self) -> bool:
        try:
            return await self.echoed() == b""
        except ConnectionError:
            return True

    async def hears_nothing(self) -> None:
        self.writer.write(b"hello")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.reader.read(100), PATIENCE_S)


async def test_what_is_said_passes_both_ways() -> None:
    async with echo_behind_a_link() as (_, port):
        assert await (await Caller.at(port)).echoed() == b"hello"


async def test_a_closed_cut_breaks_connections_and_takes_none_until_it_is_mended() -> None:
    async with echo_behind_a_link() as (link, port):
        before = await Caller.at(port)
        assert await before.echoed() == b"hello"
        link.cut("closed")
        assert await before.is_broken()
        assert await (await Caller.at(port)).is_broken()
        link.mend()
        assert await (await Caller.at(port)).echoed() == b"hello"


async def test_a_silent_cut_swallows_what_is_said_and_does_not_close() -> None:
    async with echo_behind_a_link() as (link, port):
        before = await Caller.at(port)
        assert await before.echoed() == b"hello"
        link.cut("silent")
        await before.hears_nothing()
        during = await Caller.at(port)
        await during.hears_nothing()
        link.mend()
        await before.hears_nothing()
        assert await (await Caller.at(port)).echoed() == b"hello"


async def test_a_connection_that_its_client_gives_up_is_forgotten() -> None:
    async with echo_behind_a_link() as (link, port):
        caller = await Caller.at(port)
        assert await caller.echoed() == b"hello"
        link.cut("silent")
        caller.writer.close()
        await caller.writer.wait_closed()

        def forgotten() -> None:
            assert link.connections == 0

        await eventually(forgotten)
