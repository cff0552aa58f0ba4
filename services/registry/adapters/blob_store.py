"""The blob store, written without blocking the event loop."""

import asyncio

from contracts.events.base import BlobRef
from services.chassis.blobs import Blobs


class BlobFiles:
    """`Files` in the blob store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def put(self, data: bytes, suffix: str) -> BlobRef:
        """As `Files.put`."""
        return await asyncio.to_thread(self._blobs.put, data, suffix)
