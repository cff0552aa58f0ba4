"""A stream, or the disk, that is full slows who speaks instead of losing what is said."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

import nats.js.errors

from services.chassis.limits import no_room

log = logging.getLogger(__name__)

T = TypeVar("T")

_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_SAY_AGAIN_S = 30.0


class Room:
    """Publishes, and waits for as long as there is no room. A caller that will not wait so long cancels it."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._told: dict[str, float] = {}

    @property
    def waits_for(self) -> str:
        """Why something cannot be said at the moment, in a sentence; "" when that is not so."""
        return "; ".join(self._waiting)

    async def when_there_is(self, stream: str, publish: Callable[[], Awaitable[T]]) -> T:
        """The answer of `publish`, which is tried again while it is refused for want of room and for nothing else.

        The server drops a second copy of what it did store, by its `Nats-Msg-Id`.
        """
        try:
            return await publish()
        except nats.js.errors.APIError as error:
            why = no_room(error, stream)
            if not why:
                raise
        self._waiting[why] += 1
        try:
            return await self._again(stream, publish, why)
        finally:
            self._waiting[why] -= 1
            self._waiting += Counter()  # forgets what nobody waits for

    async def _again(self, stream: str, publish: Callable[[], Awaitable[T]], why: str) -> T:
        for tries in count():
            self._tell(why)
            await asyncio.sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
            try:
                return await publish()
            except nats.js.errors.APIError as error:
                if not no_room(error, stream):
                    raise
        raise AssertionError("it tries for ever")

    def _tell(self, why: str) -> None:
        """Of many who wait for the same, one says so, and again after a while."""
        now = asyncio.get_running_loop().time()
        if now - self._told.get(why, float("-inf")) >= _SAY_AGAIN_S:
            self._told[why] = now
            log.warning("%s", why)
