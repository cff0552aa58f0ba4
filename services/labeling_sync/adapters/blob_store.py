"""The blob store: whole pictures, and manifests as Parquet."""

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image

from contracts.events.base import BlobRef
from services.chassis.blobs import BlobMissing, Blobs
from services.chassis.images import BadImage, size
from services.labeling_sync.datasets import Row
from services.labeling_sync.ports import BadPicture

_AT_ONCE = 2


class BlobPictures:
    """`Pictures` of the blob store. Two are read at once: looking at a large one takes a hundred megabytes."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def check(self, uri: str, sha256: str) -> tuple[int, int]:
        """As `Pictures.check`."""
        async with self._places:
            return await asyncio.to_thread(self._check, uri, sha256)

    async def unreadable(self, rows: Sequence[Row], checked: Mapping[str, Any]) -> dict[str, str]:
        """As `Pictures.unreadable`."""
        async with self._places:
            return await asyncio.to_thread(self._unreadable, rows, checked)

    def _unreadable(self, rows: Sequence[Row], checked: Mapping[str, Any]) -> dict[str, str]:
        found = {}
        for row in rows:
            try:
                if row.sha256 not in checked:
                    self._check(row.uri, row.sha256)
                elif not self._blobs.exists(row.uri):
                    raise BadPicture(f"{row.uri} is not in the blob store any more")
            except BadPicture as error:
                found[row.sha256] = str(error)
        return found

    def _check(self, uri: str, sha256: str) -> tuple[int, int]:
        if not uri.startswith(f"blob://{sha256}"):
            raise BadPicture(f"{uri} is not the image {sha256}: URI and sha256 must name the same bytes")
        try:
            return _whole_size(self._blobs.read(uri))
        except (BlobMissing, BadImage) as error:
            raise BadPicture(str(error)) from error


def _whole_size(data: bytes) -> tuple[int, int]:
    """Width and height; refuses a picture that is cut off, without the memory that decoding all of it would take."""
    try:
        width, height = size(data)
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if image.format == "PNG":
            image.verify()  # the checksums of all its chunks
        else:
            image.draft("L", (1, 1))  # decodes to an eighth of each side
            image.load()
    except (OSError, SyntaxError) as error:
        raise BadImage(f"the image is truncated or damaged: {error}") from error
    return width, height


class ParquetManifests:
    """`Manifests` in the blob store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def write(self, rows: Sequence[Row]) -> BlobRef:
        """As `Manifests.write`."""
        return await asyncio.to_thread(self._write, rows)

    async def labels(self, uri: str) -> dict[str, str]:
        """As `Manifests.labels`."""
        return await asyncio.to_thread(self._labels, uri)

    def _write(self, rows: Sequence[Row]) -> BlobRef:
        # Imported where it is used: 40 MB that a service without labels does not need.
        import pyarrow as pa
        import pyarrow.parquet as pq

        text = ("sha256", "uri", "label", "split", "chosen", "annotator")
        schema = pa.schema([*((name, pa.string()) for name in text), ("width", pa.int32()), ("height", pa.int32())])
        table = pa.Table.from_pylist([asdict(row) for row in sorted(rows, key=lambda row: row.sha256)], schema=schema)
        out = io.BytesIO()
        pq.write_table(table, out, compression="zstd")
        return self._blobs.put(out.getvalue(), "parquet")

    def _labels(self, uri: str) -> dict[str, str]:
        import pyarrow.parquet as pq

        table = pq.read_table(io.BytesIO(self._blobs.read(uri)), columns=["sha256", "label"])
        return dict(zip(table["sha256"].to_pylist(), table["label"].to_pylist(), strict=True))
