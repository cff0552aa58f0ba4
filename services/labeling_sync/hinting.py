"""Label Studio's webhook as a hint: there may be labels, so look now. What is true is what the look finds."""

import hmac
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from services.chassis.errors import Away, Rejected, Retry
from services.labeling_sync.cards import Cards

log = logging.getLogger(__name__)

HOOK_PATH = "/hooks/label-studio"

_MOST_BYTES = 64 * 1024
_LOOK_AGAIN = timedelta(minutes=5)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Hooks(Protocol):
    """Webhooks of the labelling tool."""

    async def keep(self, project: str, url: str, secret: str) -> bool:
        """Have it tell `url` of new and changed labels, with the secret. False while it has no such project.

        Raises:
            Away: it does not answer.
            Rejected: it will not tell this address; the text says why.
        """
        ...


class HintDoor:
    """The HTTP door (ASGI) for hints: `POST` with `Authorization: Bearer <secret>`, answered at once with 204."""

    def __init__(self, secret: str, hint: Callable[[], None]) -> None:
        self._expected = f"Bearer {secret}".encode()
        self._hint = hint

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "POST":
            await _answer(send, 405, "this is a door for POST alone")
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, self._expected):
            await _answer(send, 401, "send Authorization: Bearer <LOOPLINE_LABEL_STUDIO_HOOK_SECRET of labeling-sync>")
            return
        # Nothing in it is used, but a client wants it to be read.
        if not await _small(receive):
            await _answer(send, 413, f"a hint has {_MOST_BYTES} bytes at most")
            return
        self._hint()
        await _answer(send, 204)


class HookKeeper:
    """Sees to it that the projects' webhooks are there: of a new project soon, of an old one every few minutes."""

    def __init__(self, cards: Cards, hooks: Hooks, url: str, secret: str, now: Callable[[], datetime]) -> None:
        self._cards = cards
        self._hooks = hooks
        self._url = url
        self._secret = secret
        self._now = now
        self._kept: dict[str, datetime] = {}

    async def look(self) -> None:
        """Once over all projects.

        Raises:
            Retry: the labelling tool is away, or refuses the address. Labels come by the poll meanwhile.
        """
        for project in sorted(await self._cards.all()):
            kept = self._kept.get(project)
            if kept and self._now() - kept < _LOOK_AGAIN:
                continue
            try:
                if await self._hooks.keep(project, self._url, self._secret):
                    self._kept[project] = self._now()
            except Rejected as error:
                raise Retry(f"no webhook for {project}, its labels come by the poll: {error}") from error
            except Away:
                self._kept.clear()
                raise


async def _small(receive: Receive) -> bool:
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if size > _MOST_BYTES:
            return False
        if not message.get("more_body"):
            return True


async def _answer(send: Send, status: int, sentence: str = "") -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")] if sentence else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
