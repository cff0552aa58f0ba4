"""The bucket `cursors`."""

from collections.abc import Awaitable, Callable
from typing import Any

from services.chassis.errors import Retry
from services.chassis.kv import Bucket, Conflict, KeyExists
from services.labeling_sync.cursors import LabelCursor, QueryCursor


class KeptCursors:
    """`Cursors` under `labels.<project>` and `predictions.<project>`; the bucket is opened when it is first needed."""

    def __init__(self, open_bucket: Callable[[], Awaitable[Bucket]]) -> None:
        self._open_bucket = open_bucket
        self._bucket: Bucket | None = None

    async def _opened(self) -> Bucket:
        if self._bucket is None:
            self._bucket = await self._open_bucket()
        return self._bucket

    async def labels(self, project: str) -> tuple[LabelCursor, int]:
        """As `Cursors.labels`."""
        found = await (await self._opened()).get(f"labels.{project}")
        return (LabelCursor.from_json(found[0]), found[1]) if found else (LabelCursor(), 0)

    async def save_labels(self, project: str, cursor: LabelCursor, revision: int) -> int:
        """As `Cursors.save_labels`."""
        return await self._save(f"labels.{project}", cursor.to_json(), revision)

    async def query(self, project: str) -> tuple[QueryCursor, int]:
        """As `Cursors.query`."""
        found = await (await self._opened()).get(f"predictions.{project}")
        return (QueryCursor.from_json(found[0]), found[1]) if found else (QueryCursor(), 0)

    async def save_query(self, project: str, cursor: QueryCursor, revision: int) -> int:
        """As `Cursors.save_query`."""
        return await self._save(f"predictions.{project}", cursor.to_json(), revision)

    async def _save(self, key: str, value: dict[str, Any], revision: int) -> int:
        bucket = await self._opened()
        try:
            return await (bucket.put(key, value, revision) if revision else bucket.create(key, value))
        except (Conflict, KeyExists) as error:
            raise Retry(f"the cursor {key} was moved by another") from error
