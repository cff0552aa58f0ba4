"""`/health/live` and `/health/ready`: true answers to "does it run" and "does it do its work"."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from faststream.asgi import AsgiResponse, get

from contracts.topology import STREAMS, Consumer
from services.chassis.bus import Bus
from services.chassis.errors import Away
from services.chassis.limits import Fill, Lag

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[bool]]
_TIMEOUT_S = 1.0


class Waiting(Protocol):
    """What may have to wait for somebody."""

    @property
    def waits_for(self) -> str:
        """For whom, in a sentence; "" when it does not wait."""
        ...


def waits_for_nobody(one: Waiting) -> Check:
    """A check that fails with the sentence while it waits."""

    async def check() -> bool:
        if one.waits_for:
            raise Away(one.waits_for)
        return True

    return check


class Health:
    """Live while the process answers; ready while the bus, every durable and every check of the service answer.

    Beside the parts there are warnings, which say what is going to be trouble: a stream that fills up, a durable that
    falls behind. They do not make a service unready, since it does its work.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._consumers: Sequence[Consumer] = ()
        self._checks: dict[str, Check] = {}
        self._running = False
        self._lags: dict[str, Lag] = {}
        self.live = get(self._live, include_in_schema=False)
        self.ready = get(self._ready, include_in_schema=False)

    def also(self, name: str, check: Check) -> None:
        """A check of the service's own."""
        self._checks[name] = check

    def started(self, consumers: Sequence[Consumer]) -> None:
        """From now on the service hears these durables."""
        self._consumers = consumers
        self._running = True

    def stopping(self) -> None:
        """From now on it is no longer ready."""
        self._running = False

    async def state(self) -> dict[str, str]:
        """Each part with `ok`, or with what is wrong."""
        if not self._running:
            return {"service": "starting or stopping"}
        parts: dict[str, Check] = {"bus": self._connected, "room": waits_for_nobody(self._bus.room)}
        parts |= {row.durable: self._heard(row) for row in self._consumers}
        parts |= self._checks
        answers = await asyncio.gather(*(self._ask(check) for check in parts.values()))
        return dict(zip(parts, answers, strict=True))

    async def warnings(self) -> dict[str, str]:
        """What will be trouble: stream or durable -> a sentence. A stream that does not answer is no warning."""
        if not self._running:
            return {}
        infos = await asyncio.gather(
            *(asyncio.wait_for(self._bus.jetstream.stream_info(row.name), _TIMEOUT_S) for row in STREAMS),
            return_exceptions=True,
        )
        fills = [Fill.of(info) for info in infos if not isinstance(info, BaseException)]
        found = {fill.stream: fill.warning for fill in fills}
        found |= {durable: lag.warning for durable, lag in self._lags.items()}
        return {name: warning for name, warning in found.items() if warning}

    async def _ask(self, check: Check) -> str:
        try:
            return "ok" if await asyncio.wait_for(check(), _TIMEOUT_S) else "not ready"
        except TimeoutError:
            return f"no answer within {_TIMEOUT_S:.0f} s"
        except Away as error:
            return str(error)
        except Exception as error:
            log.debug("a health check failed", exc_info=error)
            return f"{type(error).__name__}: {error}"

    async def _connected(self) -> bool:
        return self._bus.connection.is_connected

    def _heard(self, row: Consumer) -> Check:
        async def check() -> bool:
            info = await self._bus.jetstream.consumer_info(row.stream, row.durable)
            before = self._lags.get(row.durable)
            self._lags[row.durable] = Lag.of(info, self._bus.now(), before)
            return True

        return check

    async def _live(self, scope: dict[str, Any]) -> AsgiResponse:
        return AsgiResponse(b'{"live": true}', status_code=200, headers={"content-type": "application/json"})

    async def _ready(self, scope: dict[str, Any]) -> AsgiResponse:
        state, warnings = await asyncio.gather(self.state(), self.warnings())
        ready = all(answer == "ok" for answer in state.values())
        body = json.dumps({"ready": ready, "parts": state, "warnings": warnings}).encode()
        return AsgiResponse(body, status_code=200 if ready else 503, headers={"content-type": "application/json"})
