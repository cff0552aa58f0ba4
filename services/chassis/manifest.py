"""The manifest of a dataset version: a Parquet file with a row for each image."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from services.chassis.errors import Rejected

# Columns that were added, and what an older manifest means that has none.
_ADDED = {"group": "", "slices": "{}", "perceptual_hash": ""}


def read_manifest(data: bytes, columns: Sequence[str]) -> pa.Table:
    """Its rows, with those columns: strings, but for `width` and `height` (int32, pixels).

    `slices` is the JSON text of an image's metadata. A column that manifests had not at first is filled in.

    Raises:
        Rejected: not a Parquet file, or a column is missing.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except pa.ArrowInvalid as error:
        raise Rejected(f"the manifest is no Parquet file ({error}): freeze a new dataset version") from error
    missing = [name for name in columns if name not in file.schema_arrow.names]
    lacking = [name for name in missing if name not in _ADDED]
    if lacking:
        raise Rejected(f"the manifest lacks {', '.join(lacking)}: freeze a new dataset version")
    table = file.read(columns=[name for name in columns if name not in missing])
    for name in missing:
        table = table.append_column(name, pa.repeat(_ADDED[name], table.num_rows))
    return table.select(list(columns))
