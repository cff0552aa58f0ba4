"""What the server refuses is told at once: a refused publish has no answer, only an error beside the connection.

Without this whoever waits for the answer would wait until the timeout, and then not know why.
"""

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from services.chassis.errors import NotAllowed

log = logging.getLogger(__name__)

# nats-py makes the server's words lower case, subjects with them.
_REFUSED = re.compile(r'permissions violation for (publish|subscription) to "(.+?)"')


@dataclass(eq=False)
class _Waiting:
    task: "asyncio.Task[Any]"
    refused: bool = False


class Refusals:
    """Listens to the errors of one connection and wakes those whose subject they name.

    `unheard` are the subjects, in lower case, whose subscription was refused.
    """

    def __init__(self) -> None:
        self.unheard: set[str] = set()
        self._waiting: dict[str, list[_Waiting]] = {}

    def listen(self, connection: Client) -> None:
        """Hear the errors of a connection, beside whoever heard them before."""
        # nats-py takes one callback, and only when it connects, which FastStream does for the services.
        before = connection._error_cb

        async def on_error(error: Exception) -> None:
            self.heard(error)
            try:
                await before(error)
            except Exception as raised:
                # FastStream raises some, which is right before there is a connection; later it would end nats-py's
                # task that reconnects, for good.
                log.warning("the connection to NATS had an error: %s", raised)

        connection._error_cb = on_error

    def heard(self, error: Exception) -> None:
        """An error of the connection."""
        found = _REFUSED.search(str(error).lower())
        if found is None:
            return
        what, subject = found.groups()
        if what == "subscription":
            log.error("NATS does not allow to hear %s", subject)
            self.unheard.add(subject)
            return
        told = self._waiting.get(subject, ())
        if not told:
            log.error("NATS does not allow to say %s", subject)
        for waiting in told:
            if not waiting.refused:
                waiting.refused = True
                waiting.task.cancel()

    @contextmanager
    def watched(self, subject: str, doing: str = "say") -> Iterator[None]:
        """Around waiting for an answer from `subject`.

        Raises:
            NotAllowed: the server refused it.
        """
        task = asyncio.current_task()
        assert task, "runs in a task"
        waiting, key = _Waiting(task), subject.lower()
        self._waiting.setdefault(key, []).append(waiting)
        cancelled_before = task.cancelling()
        try:
            yield
        except asyncio.CancelledError:
            # As asyncio.timeout does: ours becomes an error, anybody else's goes on.
            if waiting.refused and task.uncancel() <= cancelled_before:
                raise NotAllowed(f"not allowed to {doing} {subject}") from None
            raise
        else:
            if waiting.refused:  # the server's next answer came along with it
                task.uncancel()
                raise NotAllowed(f"not allowed to {doing} {subject}")
        finally:
            others = self._waiting[key]
            others.remove(waiting)
            if not others:
                del self._waiting[key]


class _Watched:
    """A connection whose requests are told at once when they are refused."""

    def __init__(self, connection: Client, refusals: Refusals) -> None:
        self._connection = connection
        self._refusals = refusals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def request(self, subject: str, *given: Any, **named: Any) -> Msg:
        with self._refusals.watched(subject):
            return await self._connection.request(subject, *given, **named)


def jetstream(connection: Client, refusals: Refusals, timeout_s: float) -> JetStreamContext:
    """JetStream over a connection; what it asks of the server and is refused raises NotAllowed."""
    return JetStreamContext(cast(Client, _Watched(connection, refusals)), timeout=timeout_s)
