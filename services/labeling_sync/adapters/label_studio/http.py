"""Calls of Label Studio's REST API: the token, and what its answers mean."""

from typing import Any
from urllib.parse import urlsplit

import httpx

from services.chassis.errors import Away, Rejected, Retry

WHO_AM_I = "/api/current-user/whoami"
_AWAY = (429, 502, 503, 504)


class NotThere(Exception):
    """404: what the path names does not exist."""


class There(Exception):
    """409: it exists already."""


class Http:
    """A session with one Label Studio. No call is repeated here: whoever repeats it looks first what is there."""

    def __init__(self, url: str, token: str, *, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        host = urlsplit(self.url).hostname or ""
        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Token {token}"},
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            # A proxy of the environment is for hosts outside, not for this machine.
            trust_env=host not in ("localhost", "127.0.0.1", "::1"),
        )

    async def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> Any:
        """The JSON that is answered; None where the answer is empty.

        Raises:
            Away: nobody answers, the token is refused, everything fails, or the answer did not come: it may have had
                its effect.
            NotThere, There: 404, 409.
            Rejected: the server finds fault with the request; the text says with what.
            Retry: it failed inside the server.
        """
        try:
            response = await self._client.request(method, path, params=params, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Away(f"Label Studio at {self.url} does not answer: is it running?") from error
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise Away(f"{method} {path} of Label Studio at {self.url} got no answer: {what}") from error
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
        if status >= 500 and await self._fails_at_all():
            raise Away(f"Label Studio at {self.url} answers {status} to everything: look into its log")
        reason = f"{method} {path} of Label Studio: {status}: {_reason(response)}"
        raise Rejected(reason) if status < 500 else Retry(reason)

    async def _fails_at_all(self) -> bool:
        """Whether it fails at the simplest question, too, as it does without its database."""
        try:
            return (await self._client.get(WHO_AM_I)).status_code >= 500
        except httpx.HTTPError:
            return True

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
