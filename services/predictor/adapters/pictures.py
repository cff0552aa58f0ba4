"""Pictures from requests and from the blob store, decoded in threads of their own."""

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from contracts.events.base import BlobRef, ImageRef
from contracts.telemetry import IMAGE_DECODE
from services.chassis import images
from services.chassis.blobs import BlobMissing, Blobs
from services.chassis.telemetry import span
from services.predictor.answer import Unanswerable
from services.predictor.ports import Picture

_PNG = b"\x89PNG"


class BlobPictures:
    """`Pictures` over the blob store. No more are decoded at once than there are threads: large ones take memory."""

    def __init__(self, blobs: Blobs, threads: int) -> None:
        self._blobs = blobs
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="pictures")

    async def close(self) -> None:
        """End the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    async def open(self, image_base64: str | None, image_uri: str | None, max_side: int) -> Picture:
        """As `Pictures.open`."""
        with span(IMAGE_DECODE):
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._open, image_base64, image_uri, max_side
            )

    async def keep(self, picture: Picture, heat_map: NDArray[np.uint8]) -> tuple[ImageRef, BlobRef]:
        """As `Pictures.keep`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._keep, picture, heat_map)

    def _open(self, image_base64: str | None, image_uri: str | None, max_side: int) -> Picture:
        try:
            data = self._blobs.read(image_uri) if image_uri else _decoded(image_base64 or "")
            pixels = images.decode(data)
        except (BlobMissing, images.BadImage) as error:
            raise Unanswerable(str(error)) from error
        _, height, width = pixels.shape
        return Picture(data, image_uri, images.shrink(pixels, max_side), width, height)

    def _keep(self, picture: Picture, heat_map: NDArray[np.uint8]) -> tuple[ImageRef, BlobRef]:
        uri = picture.uri
        if uri is None:
            uri = self._blobs.put(picture.data, "png" if picture.data.startswith(_PNG) else "jpg").uri
        sha256 = uri.removeprefix("blob://").split(".")[0]
        image = ImageRef(uri=uri, sha256=sha256, width=picture.width, height=picture.height)
        return image, self._blobs.put(images.encode_png(heat_map), "png")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # binascii's own is one, and a letter outside ASCII raises a plain one
        raise Unanswerable(f"image_base64 is not base64: {error}") from error
