"""The bucket `deployments`, watched by every replica: through a shared durable only one of them would learn of it."""

from collections.abc import Awaitable, Callable
from typing import Any

from services.chassis.kv import Bucket
from services.predictor.answer import Serving


class WatchedRoutes:
    """`Routes` as the deployer writes them."""

    def __init__(self, open_bucket: Callable[[], Awaitable[Bucket]]) -> None:
        self._open_bucket = open_bucket
        self._bucket: Bucket | None = None
        self._known: dict[str, Serving] = {}

    async def of(self, project: str) -> Serving | None:
        """As `Routes.of`. The watch may not have come to this project yet, so the bucket itself has the last word."""
        if project not in self._known:
            await self.reread(project)
        return self._known.get(project)

    async def reread(self, project: str) -> None:
        """As `Routes.reread`."""
        found = await (await self._opened()).get(project)
        await self._heard(project, found[0] if found else None)

    async def watch(self) -> None:
        """Follow all changes, for ever."""
        await (await self._opened()).watch(self._heard)

    async def _heard(self, project: str, value: dict[str, Any] | None) -> None:
        if value is None:
            self._known.pop(project, None)
        else:
            self._known[project] = Serving.read(value)

    async def _opened(self) -> Bucket:
        if self._bucket is None:
            self._bucket = await self._open_bucket()
        return self._bucket
