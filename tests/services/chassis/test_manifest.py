from pathlib import Path

import pytest

from services.chassis.blobs import Blobs
from services.chassis.errors import Rejected
from services.chassis.manifest import read_manifest
from tests.manifests import manifest_of, two_corners

COLUMNS = ("sha256", "label", "split")


def test_a_manifest_gives_one_row_an_image_with_the_columns_asked_for(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    found = read_manifest(blobs.read(two_corners(blobs, train=2, validation=1, test=1).uri), COLUMNS)
    assert (found.num_rows, tuple(found.column_names)) == (8, COLUMNS)


def test_what_is_no_manifest_is_refused_in_a_sentence(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    with pytest.raises(Rejected, match="no Parquet file"):
        read_manifest(b"label,split\n", COLUMNS)
    with pytest.raises(Rejected, match="lacks split: freeze"):
        read_manifest(blobs.read(manifest_of(blobs, [{"sha256": "0" * 64, "label": "upper"}]).uri), COLUMNS)


def test_a_manifest_from_before_groups_and_slices_stays_readable(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    old = blobs.read(two_corners(blobs, train=1, validation=1, test=1).uri)
    found = read_manifest(old, ("sha256", "slices", "label", "group"))
    assert found.column_names == ["sha256", "slices", "label", "group"]
    assert (set(found["slices"].to_pylist()), set(found["group"].to_pylist())) == ({"{}"}, {""})
