"""The bucket `cursors`."""

from typing import Any

from services.chassis.errors import Retry
from services.chassis.kv import Bucket, Conflict, KeyExists
from services.labeling_sync.cursors import LabelCursor, QueryCursor


class KeptCursors:
    """`Cursors` under `labels.<project>` and `predictions.<project>`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def labels(self, project: str) -> tuple[LabelCursor, int]:
        """As `Cursors.labels`."""
        found = await self._bucket.get(f"labels.{project}")
        return (LabelCursor.from_json(found[0]), found[1]) if found else (LabelCursor(), 0)

    async def save_labels(self, project: str, cursor: LabelCursor, revision: int) -> int:
        """As `Cursors.save_labels`."""
        return await self._save(f"labels.{project}", cursor.to_json(), revision)

    async def query(self, project: str) -> tuple[QueryCursor, int]:
        """As `Cursors.query`."""
        found = await self._bucket.get(f"predictions.{project}")
        return (QueryCursor.from_json(found[0]), found[1]) if found else (QueryCursor(), 0)

    async def save_query(self, project: str, cursor: QueryCursor, revision: int) -> int:
        """As `Cursors.save_query`."""
        return await self._save(f"predictions.{project}", cursor.to_json(), revision)

    async def _save(self, key: str, value: dict[str, Any], revision: int) -> int:
        try:
            return await (self._bucket.put(key, value, revision) if revision else self._bucket.create(key, value))
        except (Conflict, KeyExists) as error:
            raise Retry(f"the cursor {key} was moved by another") from error
