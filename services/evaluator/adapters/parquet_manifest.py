"""The manifest of a dataset version, a Parquet file."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.chassis.errors import Rejected

COLUMNS = ("sha256", "uri", "label", "split", "width", "height")


@dataclass(frozen=True)
class TestImage:
    """An image that no model trained on, and what it shows. Width and height in pixels as stored."""

    __test__ = False  # not for pytest

    sha256: str
    uri: str
    label: str
    width: int
    height: int


def test_images(data: bytes) -> list[TestImage]:
    """The test split, by sha256.

    Raises:
        Rejected: not a Parquet file, or a column is missing.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except pa.ArrowInvalid as error:
        raise Rejected(f"the manifest is no Parquet file ({error}): freeze a new dataset version") from error
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise Rejected(f"the manifest lacks {', '.join(missing)}: freeze a new dataset version")
    table = file.read(columns=list(COLUMNS))
    rows = table.filter(pc.equal(table["split"], "test")).drop_columns(["split"]).to_pylist()
    return sorted((TestImage(**row) for row in rows), key=lambda image: image.sha256)
