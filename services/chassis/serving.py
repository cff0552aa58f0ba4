"""The HTTP server of a service, and how its process ends."""

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from services.chassis.ending import end

log = logging.getLogger(__name__)

_STOPS = (signal.SIGTERM, signal.SIGINT)
_LOOK_S = 0.1


class Server(uvicorn.Server):
    """Can be stopped while it starts, and ends by itself when it has stopped.

    uvicorn's own listens to no signal until the application has started, and raises the signal again behind a clean
    stop: the process then looks as if it had been killed.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, without the signal again at the end."""
        before = {number: signal.signal(number, self.handle_exit) for number in _STOPS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and given up when told to stop."""
        starting = asyncio.create_task(super().startup(sockets))
        while not (starting.done() or self.should_exit):
            await asyncio.wait({starting}, timeout=_LOOK_S)
        if starting.done():
            return starting.result()
        log.info("was told to stop before it had started")
        # A start that is given up is a failure to uvicorn, which it would tell with its stack.
        self.lifespan.logger.disabled = True
        await end([starting])
