"""A watch ends when it is cancelled, also in the moment in which something else arrives. No server needed."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

from nats.js.client import JetStreamContext
from nats.js.kv import KeyValue

from services.chassis.kv import Bucket

ENOUGH_S = 30


class Watcher(KeyValue.KeyWatcher):
    """Of a bucket without a server: its values are put in by the test."""

    def __init__(self) -> None:
        super().__init__(None)

    def arrives(self, revision: int) -> None:
        entry = KeyValue.Entry("B", "solar", json.dumps({"n": revision}).encode(), revision, 0, None, None)
        self._updates.put_nowait(entry)

    async def stop(self) -> None:
        pass


class Store:
    """One bucket of one watcher, which is opened after `opening`."""

    def __init__(self, opening: Callable[[], Awaitable[None]] | None = None) -> None:
        self.watcher = Watcher()
        self._opening = opening

    async def watchall(self) -> Watcher:
        if self._opening:
            await self._opening()
        return self.watcher

    async def key_value(self, name: str) -> KeyValue:
        return cast(KeyValue, self)

    def bucket(self) -> Bucket:
        return Bucket(lambda: cast(JetStreamContext, self), "B")


async def test_a_cancellation_that_comes_together_with_a_value_ends_the_watch() -> None:
    store, seen = Store(), asyncio.Event()

    async def on_value(key: str, value: dict[str, Any] | None) -> None:
        seen.set()

    watching = asyncio.create_task(store.bucket().watch(on_value))
    store.watcher.arrives(1)
    await asyncio.wait_for(seen.wait(), ENOUGH_S)
    await asyncio.sleep(0)  # it waits for the next value
    store.watcher.arrives(2)
    watching.cancel()
    await asyncio.wait({watching}, timeout=ENOUGH_S)
    assert watching.cancelled()


async def test_a_cancellation_that_is_dropped_by_a_call_of_the_bus_ends_the_watch() -> None:
    begun = asyncio.Event()

    async def drops_it() -> None:
        """As `asyncio.wait_for` does in nats-py's requests when the answer comes in the same moment."""
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    async def on_value(key: str, value: dict[str, Any] | None) -> None:
        raise AssertionError("no value was put in")

    watching = asyncio.create_task(Store(drops_it).bucket().watch(on_value))
    await asyncio.wait_for(begun.wait(), ENOUGH_S)
    watching.cancel()
    await asyncio.wait({watching}, timeout=ENOUGH_S)
    assert watching.cancelled()


async def test_a_cancellation_that_is_dropped_while_a_value_is_taken_ends_the_watch() -> None:
    store, taking = Store(), asyncio.Event()

    async def on_value(key: str, value: dict[str, Any] | None) -> None:
        taking.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    watching = asyncio.create_task(store.bucket().watch(on_value))
    store.watcher.arrives(1)
    await asyncio.wait_for(taking.wait(), ENOUGH_S)
    watching.cancel()
    await asyncio.wait({watching}, timeout=ENOUGH_S)
    assert watching.cancelled()
