"""The manifest of a dataset version, a Parquet file."""

from dataclasses import dataclass

import pyarrow.compute as pc

from services.chassis.manifest import read_manifest

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
    table = read_manifest(data, COLUMNS)
    rows = table.filter(pc.equal(table["split"], "test")).drop_columns(["split"]).to_pylist()
    return sorted((TestImage(**row) for row in rows), key=lambda image: image.sha256)
