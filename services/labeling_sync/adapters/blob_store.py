"""The blob store: whole pictures, and manifests as Parquet."""

import asyncio
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from PIL import Image

from contracts.events.base import BlobRef
from services.chassis.blobs import BlobMissing, Blobs
from services.chassis.images import BadImage, size
from services.labeling_sync.datasets import Before, LabelledImage, Row
from services.labeling_sync.ports import BadPicture, Looked
from services.labeling_sync.sides import Split

_AT_ONCE = 2
_HASH_SIDE = 16  # 256 bits
_FORMER_SIDES = b"loopline.former_sides"


class BlobPictures:
    """`Pictures` of the blob store. Two are read at once: looking at a large one takes a hundred megabytes."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def check(self, uri: str, sha256: str) -> tuple[int, int]:
        """As `Pictures.check`."""
        async with self._places:
            return (await asyncio.to_thread(self._checked, uri, sha256))[1]

    async def looked_at(self, images: Sequence[LabelledImage], known: Mapping[str, str]) -> Looked:
        """As `Pictures.looked_at`."""
        async with self._places:
            return await asyncio.to_thread(self._looked_at, images, known)

    def _looked_at(self, images: Sequence[LabelledImage], known: Mapping[str, str]) -> Looked:
        unreadable, hashes = {}, {}
        for image in images:
            hash_ = known.get(image.sha256)
            try:
                if hash_ is None:
                    hash_ = _perceptual_hash(self._checked(image.uri, image.sha256)[0])
                elif not self._blobs.exists(image.uri):
                    raise BadPicture(f"{image.uri} is not in the blob store any more")
                hashes[image.sha256] = hash_
            except BadPicture as error:
                unreadable[image.sha256] = str(error)
        return Looked(unreadable, hashes)

    def _checked(self, uri: str, sha256: str) -> tuple[bytes, tuple[int, int]]:
        """The bytes of a whole, readable picture, with its width and height."""
        if not uri.startswith(f"blob://{sha256}"):
            raise BadPicture(f"{uri} is not the image {sha256}: URI and sha256 must name the same bytes")
        try:
            data = self._blobs.read(uri)
            return data, _whole_size(data)
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


def _perceptual_hash(data: bytes) -> str:
    """256 bits as 64 hex digits: the low frequencies of the grey picture. No larger than needed is decoded."""
    import imagehash  # with scipy; a service without labels does not need it

    image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    try:
        image.draft("L", (4 * _HASH_SIDE, 4 * _HASH_SIDE))
        return str(imagehash.phash(image, hash_size=_HASH_SIDE))
    except (OSError, SyntaxError, ValueError) as error:
        raise BadPicture(f"the image is truncated or damaged: {error}") from error


class ParquetManifests:
    """`Manifests` in the blob store. The sides of former images stand in the file's metadata, which readers skip."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def write(self, rows: Sequence[Row], former: Mapping[str, Split]) -> BlobRef:
        """As `Manifests.write`."""
        return await asyncio.to_thread(self._write, rows, former)

    async def read(self, uri: str) -> Before:
        """As `Manifests.read`."""
        return await asyncio.to_thread(self._read, uri)

    def _write(self, rows: Sequence[Row], former: Mapping[str, Split]) -> BlobRef:
        # Imported where it is used: 40 MB that a service without labels does not need.
        import pyarrow as pa
        import pyarrow.parquet as pq

        numbers = ("width", "height")
        kinds = {name: pa.int32() if name in numbers else pa.string() for name in Row.__dataclass_fields__}
        schema = pa.schema(list(kinds.items()))
        if former:
            schema = schema.with_metadata({_FORMER_SIDES: json.dumps(dict(sorted(former.items()))).encode()})
        table = pa.Table.from_pylist([asdict(row) for row in sorted(rows, key=lambda row: row.sha256)], schema=schema)
        out = io.BytesIO()
        pq.write_table(table, out, compression="zstd")
        return self._blobs.put(out.getvalue(), "parquet")

    def _read(self, uri: str) -> Before:
        from services.chassis.manifest import read_manifest

        table = read_manifest(self._blobs.read(uri), ("sha256", "label", "split", "perceptual_hash"))
        sha256 = table["sha256"].to_pylist()
        former = json.loads((table.schema.metadata or {}).get(_FORMER_SIDES, b"{}"))
        hashes = zip(sha256, table["perceptual_hash"].to_pylist(), strict=True)
        return Before(
            labels=dict(zip(sha256, table["label"].to_pylist(), strict=True)),
            hashes={image: hash_ for image, hash_ in hashes if hash_},  # one of before near-duplicates has none
            sides=former | dict(zip(sha256, table["split"].to_pylist(), strict=True)),
        )
