"""The manifest of a dataset version: a Parquet file with a row for each image."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from services.chassis.errors import Rejected


def read_manifest(data: bytes, columns: Sequence[str]) -> pa.Table:
    """Its rows, with those columns.

    Raises:
        Rejected: not a Parquet file, or a column is missing.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except pa.ArrowInvalid as error:
        raise Rejected(f"the manifest is no Parquet file ({error}): freeze a new dataset version") from error
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise Rejected(f"the manifest lacks {', '.join(missing)}: freeze a new dataset version")
    return file.read(columns=list(columns))
