"""The bucket `watched`."""

from typing import Any

from services.chassis.errors import Retry
from services.chassis.kv import Bucket, Conflict, KeyExists
from services.evaluator.watched import Reference, Watched


class KeptWatch:
    """`Kept` under `state.<project>` and `reference.<project>`: what is large is not written again with each window."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def watched(self, project: str) -> tuple[Watched, int]:
        """As `Kept.watched`."""
        found = await self._bucket.get(f"state.{project}")
        return (Watched.model_validate(found[0]), found[1]) if found else (Watched(), 0)

    async def save(self, project: str, watched: Watched, revision: int) -> int:
        """As `Kept.save`."""
        key, value = f"state.{project}", watched.model_dump(mode="json")
        try:
            return await (self._bucket.put(key, value, revision) if revision else self._bucket.create(key, value))
        except (Conflict, KeyExists) as error:
            raise Retry(f"the watch of {project} was gone on with by another replica") from error

    async def reference(self, project: str) -> Reference | None:
        """As `Kept.reference`."""
        found = await self._bucket.get(f"reference.{project}")
        return Reference.model_validate(found[0]) if found else None

    async def save_reference(self, project: str, reference: Reference) -> None:
        """As `Kept.save_reference`."""
        value: dict[str, Any] = reference.model_dump(mode="json")
        await self._bucket.put(f"reference.{project}", value)
