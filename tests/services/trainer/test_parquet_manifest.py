from pathlib import Path

import pytest

from services.chassis.blobs import Blobs
from services.chassis.errors import Rejected
from services.trainer.adapters.parquet_manifest import COLUMNS, rows
from tests.manifests import manifest_of, two_corners


def test_a_manifest_gives_one_row_an_image(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    found = rows(blobs.read(two_corners(blobs, train=2, validation=1, test=1).uri))
    assert len(found) == 8
    assert set(found[0]) == set(COLUMNS)


def test_what_is_no_manifest_is_refused_in_a_sentence(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    with pytest.raises(Rejected, match="no Parquet file"):
        rows(b"label,split\n")
    with pytest.raises(Rejected, match="lacks uri, split, width, height: freeze"):
        rows(blobs.read(manifest_of(blobs, [{"sha256": "0" * 64, "label": "upper"}]).uri))
