"""Key-value buckets of JSON objects with compare-and-set."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import nats.errors
import nats.js.errors
from nats.js.client import JetStreamContext
from nats.js.kv import KeyValue

from services.chassis.ending import raise_if_cancelled
from services.chassis.errors import Away
from services.chassis.limits import no_room

log = logging.getLogger(__name__)

OnValue = Callable[[str, dict[str, Any] | None], Awaitable[None]]

# A watch is deaf for about ten seconds after the server it watched was killed, so it is opened anew this often.
_REREAD_S = 5.0


class KeyExists(Exception):
    """The key has a value already."""


class Conflict(Exception):
    """Someone else changed the value since it was read."""


@contextmanager
def _room() -> Iterator[None]:
    """A full disk is waited for, as every system that is away."""
    try:
        yield
    except nats.js.errors.APIError as error:
        if why := no_room(error, "a bucket"):
            raise Away(why) from error
        raise


class Bucket:
    """A bucket, opened when it is first needed. Keys are `[A-Za-z0-9._=/-]+`, values JSON objects."""

    def __init__(self, jetstream: Callable[[], JetStreamContext], name: str) -> None:
        self._jetstream = jetstream
        self._name = name
        self._opened: KeyValue | None = None

    async def _store(self) -> KeyValue:
        if self._opened is None:
            self._opened = await self._jetstream().key_value(self._name)
        return self._opened

    async def get(self, key: str) -> tuple[dict[str, Any], int] | None:
        """The value and its revision, or None."""
        with suppress(nats.js.errors.KeyNotFoundError):
            entry = await (await self._store()).get(key)
            return json.loads(entry.value or b"{}"), int(entry.revision or 0)
        return None

    async def create(self, key: str, value: dict[str, Any]) -> int:
        """Set a key that has no value; returns the revision.

        Raises:
            KeyExists: it has one. Of two who create at once, one gets this.
        """
        try:
            with _room():
                return await (await self._store()).create(key, json.dumps(value).encode())
        except nats.js.errors.KeyWrongLastSequenceError:
            raise KeyExists(key) from None

    async def put(self, key: str, value: dict[str, Any], revision: int | None = None) -> int:
        """Set a key; with `revision` only if that is still the last one. Returns the new revision.

        Raises:
            Conflict: the value was changed since.
        """
        body = json.dumps(value).encode()
        if revision is None:
            with _room():
                return await (await self._store()).put(key, body)
        try:
            with _room():
                return await (await self._store()).update(key, body, last=revision)
        except nats.js.errors.KeyWrongLastSequenceError:
            raise Conflict(key) from None

    async def delete(self, key: str) -> None:
        """Remove a key."""
        await (await self._store()).delete(key)

    async def keys(self) -> list[str]:
        """All keys that have a value."""
        return list(await self.values(">"))

    async def values(self, keys: str) -> dict[str, dict[str, Any]]:
        """The values under all keys of a pattern, such as `train.solar.*`.

        nats-py's own `keys` reads a watch up to "no more for now", which it says too early when the server was faster
        than its reader: a key that is there was then missing.
        """
        prefix = f"$KV.{self._name}."
        found = await self._jetstream().stream_info(f"KV_{self._name}", subjects_filter=prefix + keys)
        names = [subject.removeprefix(prefix) for subject in found.state.subjects or {}]
        # A removed key keeps its subject, and has no value.
        entries = zip(names, await asyncio.gather(*map(self.get, names)), strict=True)
        return {name: entry[0] for name, entry in entries if entry}

    async def watch(self, on_value: OnValue) -> None:
        """Call `on_value(key, value)` with every value there is and every one that comes; None when a key is removed.

        Runs until cancelled. What raises in `on_value` is logged; after a lost connection all is read again.
        """
        seen: dict[str, int] = {}
        while True:
            raise_if_cancelled()
            try:
                await self._watch_for_a_while(seen, on_value)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("watching a bucket was interrupted, goes on: %s", error)
                await asyncio.sleep(0.5)

    async def _watch_for_a_while(self, seen: dict[str, int], on_value: OnValue) -> None:
        watcher = await (await self._store()).watchall()
        try:
            while True:
                raise_if_cancelled()
                try:
                    entry = await _next(watcher)
                except nats.errors.TimeoutError:
                    return
                if entry is None or seen.get(entry.key, -1) >= (entry.revision or 0):
                    continue
                seen[entry.key] = entry.revision or 0
                removed = entry.operation in ("DEL", "PURGE")
                try:
                    await on_value(entry.key, None if removed else json.loads(entry.value or b"{}"))
                except Exception:
                    log.exception("a value of a bucket could not be used", extra={"key": entry.key})
        finally:
            await watcher.stop()  # type: ignore[no-untyped-call]


async def _next(watcher: KeyValue.KeyWatcher) -> KeyValue.Entry | None:
    """The next value, None for "no more for now".

    Its own `updates` waits by `asyncio.wait_for`, which loses a cancellation that comes together with a value.

    Raises:
        nats.errors.TimeoutError: none came for `_REREAD_S`; as `updates`, so that a bus that is away is taken for that.
    """
    try:
        async with asyncio.timeout(_REREAD_S):
            return await anext(watcher)
    except TimeoutError:
        raise nats.errors.TimeoutError from None
