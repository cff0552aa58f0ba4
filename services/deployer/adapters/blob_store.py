"""The blob store, read without blocking the event loop."""

import asyncio

from services.chassis.blobs import Blobs


class BlobArtifacts:
    """`Artifacts` in the blob store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def read(self, uri: str) -> bytes:
        """As `Artifacts.read`: the store checks the SHA-256 that the name promises."""
        return await asyncio.to_thread(self._blobs.read, uri)
