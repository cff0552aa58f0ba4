"""The bucket `deployments`, watched by every replica: through a shared durable only one of them would learn of it."""

from typing import Any

from services.chassis.kv import Bucket
from services.predictor.answer import Serving


class WatchedRoutes:
    """`Routes` as the deployer writes them."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._known: dict[str, Serving] = {}

    async def of(self, project: str) -> Serving | None:
        """As `Routes.of`. The watch may not have come to this project yet, so the bucket itself has the last word."""
        if project not in self._known:
            await self.reread(project)
        return self._known.get(project)

    async def reread(self, project: str) -> None:
        """As `Routes.reread`."""
        found = await self._bucket.get(project)
        await self._heard(project, found[0] if found else None)

    async def watch(self) -> None:
        """Follow all changes, for ever."""
        await self._bucket.watch(self._heard)

    async def _heard(self, project: str, value: dict[str, Any] | None) -> None:
        if value is None:
            self._known.pop(project, None)
        else:
            self._known[project] = Serving.read(value)
