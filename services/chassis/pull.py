"""Fetches the messages of a durable; FastStream's own loop takes them in waves, and twice as long for each."""

import asyncio
import logging

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from services.chassis.delivery import Delivery
from services.chassis.ending import end

log = logging.getLogger(__name__)

_FETCH_TIMEOUT_S = 5.0
_PAUSE_AFTER_ERROR_S = 0.5


class PullLoop:
    """Keeps up to `at_once` messages of one durable in flight; a new one is fetched as soon as one is done."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._free = asyncio.Semaphore(delivery.consumer.at_once)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._stopping = False
        self._delivering = False

    async def start(self, jetstream: JetStreamContext) -> None:
        """Begin to fetch."""
        self._loop = asyncio.create_task(self._run(jetstream))

    async def stop(self, grace_s: float) -> None:
        """Stop fetching, then let what is in flight end."""
        self._stopping = True
        if self._loop and not self._delivering:
            await end([self._loop])
        await self._delivery.close(grace_s)
        if self._loop:
            await end([self._loop])
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)

    async def _run(self, jetstream: JetStreamContext) -> None:
        row = self._delivery.consumer
        while not self._stopping:
            try:
                subscription = await jetstream.pull_subscribe_bind(consumer=row.durable, stream=row.stream)
                try:
                    while not self._stopping:
                        await self._fetch(subscription)
                finally:
                    await subscription.unsubscribe()
            except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
                log.warning("fetching for %s was interrupted, goes on: %r", row.durable, error)
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)

    async def _fetch(self, subscription: JetStreamContext.PullSubscription) -> None:
        """Wait for a free place, then fetch as many messages as there are places."""
        await self._free.acquire()
        places = 1
        while places < self._delivery.consumer.at_once and not self._free.locked():
            await self._free.acquire()
            places += 1
        messages: list[Msg] = []
        try:
            messages = await subscription.fetch(batch=places, timeout=_FETCH_TIMEOUT_S)
        except TimeoutError:
            pass  # nothing to do is no error; nats-py raises its own kind of it, or asyncio's
        finally:
            for _ in range(places - len(messages)):
                self._free.release()
        if messages and self._delivery.consumer.at_once == 1:
            # Here, and not in a task: the ack then leaves in one packet with the next fetch.
            self._delivering = True
            try:
                await self._deliver(messages[0])
            finally:
                self._delivering = False
            return
        for message in messages:
            task = asyncio.create_task(self._deliver(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, message: Msg) -> None:
        try:
            await self._delivery.deliver(message)
        except Exception:
            log.exception("a message on %s could not be delivered and will come again", message.subject)
        finally:
            self._free.release()
