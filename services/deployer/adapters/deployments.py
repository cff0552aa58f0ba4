"""The bucket `deployments`."""

from services.chassis.errors import Retry
from services.chassis.kv import Bucket, Conflict, KeyExists
from services.deployer.route import Route


class Deployments:
    """`Routes` in a key-value bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def projects(self) -> list[str]:
        """As `Routes.projects`."""
        return sorted(await self._bucket.keys())

    async def get(self, project: str) -> tuple[Route, int] | None:
        """As `Routes.get`."""
        found = await self._bucket.get(project)
        return (Route.model_validate(found[0]), found[1]) if found else None

    async def put(self, project: str, route: Route, revision: int | None) -> None:
        """As `Routes.put`."""
        value = route.model_dump(mode="json")
        try:
            if revision is None:
                await self._bucket.create(project, value)
            else:
                await self._bucket.put(project, value, revision)
        except (Conflict, KeyExists) as error:
            raise Retry(f"the route of {project} was changed by another deployer") from error
