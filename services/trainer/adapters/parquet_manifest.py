"""The manifest of a dataset version, a Parquet file."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.chassis.errors import Rejected

COLUMNS = ("sha256", "uri", "label", "split", "width", "height")


def rows(data: bytes) -> list[dict[str, Any]]:
    """Its rows, with the columns that training needs.

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
    found: list[dict[str, Any]] = file.read(columns=list(COLUMNS)).to_pylist()
    return found
