"""The bucket `deployments`."""

from collections.abc import Awaitable, Callable

from services.chassis.errors import Retry
from services.chassis.kv import Bucket, Conflict, KeyExists
from services.deployer.route import Route


class Deployments:
    """`Routes` in a key-value bucket, which is opened when it is first needed."""

    def __init__(self, open_bucket: Callable[[], Awaitable[Bucket]]) -> None:
        self._open_bucket = open_bucket
        self._bucket: Bucket | None = None

    async def _opened(self) -> Bucket:
        if self._bucket is None:
            self._bucket = await self._open_bucket()
        return self._bucket

    async def projects(self) -> list[str]:
        """As `Routes.projects`."""
        return sorted(await (await self._opened()).keys())

    async def get(self, project: str) -> tuple[Route, int] | None:
        """As `Routes.get`."""
        found = await (await self._opened()).get(project)
        return (Route.model_validate(found[0]), found[1]) if found else None

    async def put(self, project: str, route: Route, revision: int | None) -> None:
        """As `Routes.put`."""
        bucket = await self._opened()
        value = route.model_dump(mode="json")
        try:
            if revision is None:
                await bucket.create(project, value)
            else:
                await bucket.put(project, value, revision)
        except (Conflict, KeyExists) as error:
            raise Retry(f"the route of {project} was changed by another deployer") from error
