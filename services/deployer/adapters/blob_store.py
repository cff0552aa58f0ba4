"""The blob store, read without blocking the event loop."""

import asyncio

from contracts.events.base import BlobRef
from services.chassis.blobs import Blobs
from services.chassis.errors import Rejected


class BlobArtifacts:
    """`Artifacts` in the blob store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def read(self, ref: BlobRef) -> bytes:
        """As `Artifacts.read`: the store checks the SHA-256 that the name promises."""
        if not ref.uri.startswith(f"blob://{ref.sha256}"):
            raise Rejected(f"{ref.uri} is not the file with the SHA-256 {ref.sha256} that was registered")
        return await asyncio.to_thread(self._blobs.read, ref.uri)
