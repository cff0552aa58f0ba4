"""The manifest of a dataset version, a Parquet file."""

import json
from dataclasses import dataclass, field

import pyarrow.compute as pc

from services.chassis.errors import Rejected
from services.chassis.manifest import read_manifest

COLUMNS = ("sha256", "uri", "label", "split", "width", "height", "slices")


@dataclass(frozen=True)
class TestImage:
    """An image that no model trained on, and what it shows. Width and height in pixels as stored.

    `metadata` came with the image and makes slices.
    """

    __test__ = False  # not for pytest

    sha256: str
    uri: str
    label: str
    width: int
    height: int
    metadata: dict[str, str | int | float | bool] = field(default_factory=dict)


def test_images(data: bytes) -> list[TestImage]:
    """The test split, by sha256.

    Raises:
        Rejected: not a Parquet file, or a column is missing.
    """
    table = read_manifest(data, COLUMNS)
    rows = table.filter(pc.equal(table["split"], "test")).drop_columns(["split"]).to_pylist()
    images = (TestImage(metadata=_metadata(row.pop("slices")), **row) for row in rows)
    return sorted(images, key=lambda image: image.sha256)


def _metadata(text: str) -> dict[str, str | int | float | bool]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Rejected("the manifest's slices are no JSON: freeze a new dataset version") from error
    if not isinstance(found, dict):
        raise Rejected("the manifest's slices are no JSON objects: freeze a new dataset version")
    return {str(key): value for key, value in found.items() if isinstance(value, str | int | float)}
