"""Calls of Label Studio's REST API: the token, what its answers mean, and waiting while it is away."""

import asyncio
import logging
from typing import Any
from urllib.parse import urlsplit

import httpx

from services.chassis.errors import Rejected, Retry
from services.labeling_sync.ports import Away

log = logging.getLogger(__name__)

_AWAY = (429, 502, 503, 504)
_PAUSES_S = (0.5, 1.0, 2.0, 5.0)


class NotThere(Exception):
    """404: what the path names does not exist."""


class There(Exception):
    """409: it exists already."""


class Http:
    """A session with one Label Studio.

    `patience_s` is how long a call waits for a server that is away or refuses the token, before it raises `Away`. A
    call that may have had its effect is never repeated here: it raises `Retry`, and whoever repeats it looks first.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float, patience_s: float) -> None:
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        self._told = ""
        host = urlsplit(self.url).hostname or ""
        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Token {token}"},
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            # A proxy of the environment is for hosts outside, not for this machine.
            trust_env=host not in ("localhost", "127.0.0.1", "::1"),
        )

    async def call(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None, patience_s: float = -1
    ) -> Any:
        """The JSON that is answered; None where the answer is empty.

        Raises:
            Away: nobody answers, or the token is refused.
            NotThere, There: 404, 409.
            Rejected: the server finds fault with the request; the text says with what.
            Retry: it failed inside the server, or the answer did not come.
        """
        patience_s = self._patience_s if patience_s < 0 else patience_s
        loop = asyncio.get_running_loop()
        until, tries = loop.time() + patience_s, 0
        while True:
            try:
                answer = await self._once(method, path, params, body)
                if self._told:
                    log.info("Label Studio is back")
                    self._told = ""
                return answer
            except Away as away:
                pause = _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]
                if loop.time() + pause > until:
                    raise
                if str(away) != self._told:
                    log.warning("%s; goes on when that is mended", away)
                    self._told = str(away)
                tries += 1
                await asyncio.sleep(pause)

    async def _once(self, method: str, path: str, params: dict[str, Any] | None, body: Any) -> Any:
        try:
            response = await self._client.request(method, path, params=params, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Away(f"Label Studio at {self.url} does not answer: is it running?") from error
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise Retry(f"{method} {path} of Label Studio at {self.url} got no answer: {what}") from error
        status = response.status_code
        if status < 300:
            return response.json() if response.content else None
        if status == 401:
            raise Away(
                f"Label Studio at {self.url} refuses the token: set LOOPLINE_LABEL_STUDIO_TOKEN to the legacy token "
                "of a user (Account & Settings > Legacy Token; an access token is another kind)"
            )
        if status in _AWAY:
            raise Away(f"Label Studio at {self.url} answers {status}: it is overloaded or starting")
        if status == 404:
            raise NotThere(path)
        if status == 409:
            raise There(path)
        reason = f"{method} {path} of Label Studio: {status}: {_reason(response)}"
        raise Rejected(reason) if status < 500 else Retry(reason)

    async def close(self) -> None:
        """End the session."""
        await self._client.aclose()


def _reason(response: httpx.Response) -> str:
    """What the server says is wrong, in a line."""
    try:
        answer = response.json()
    except ValueError:
        return "no reason given"
    if not isinstance(answer, dict):
        return str(answer)[:500]
    return str(answer.get("validation_errors") or answer.get("detail") or answer)[:500]
