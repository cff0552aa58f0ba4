"""cleanlab in a child process that ends when it has answered."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from contracts.events.base import BlobRef
from services.chassis.child import ChildFailed, WarmChild
from services.chassis.errors import Away, Rejected, Retry
from services.labeling_sync.second_look import Doubt

WORKER = "services.labeling_sync.worker"


class CleanlabProcess:
    """`Doubts` of the blob store at `blobs_root`."""

    def __init__(self, child: WarmChild, blobs_root: str) -> None:
        self._child = child
        self._blobs_root = blobs_root

    async def likely_wrong(self, blob: BlobRef) -> list[Doubt]:
        """As `Doubts.likely_wrong`."""
        job = {"blobs_root": self._blobs_root, "uri": blob.uri}
        try:
            async with aclosing(cast("AsyncGenerator[dict[str, Any]]", self._child.run(job))) as answers:
                async for answer in answers:
                    return [Doubt(**one) for one in answer["result"]["doubts"]]
        except ChildFailed as failed:
            if failed.rejected:
                raise Rejected(failed.reason) from failed
            raise (Away if failed.away else Retry)(failed.reason) from failed
        finally:
            await self._child.stop()
        raise Retry("the child process did not say which labels are likely wrong")
