import io
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.cli.datasets import digits, elpv, truth
from services.cli.errors import BadInput
from tests.services.cli.world import png


def test_elpv_is_the_same_every_time_and_mixed() -> None:
    first, again = list(islice(elpv(), 40)), list(islice(elpv(), 40))
    assert [image.sha256 for image in first] == [image.sha256 for image in again]
    assert {image.label for image in first} == {"functional", "defective"}
    assert {image.metadata["type"] for image in first} == {"mono", "poly"}
    picture = Image.open(io.BytesIO(first[0].encoded))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (300, 300), "L")


def test_elpv_calls_a_cell_defective_from_a_probability_of_one_half() -> None:
    labels = list(truth("elpv").values())
    assert (labels.count("functional"), labels.count("defective")) == (1508 + 295, 106 + 715)


def test_digits_are_sharp_squares_of_eight_pixels() -> None:
    image = next(digits())
    pixels = np.asarray(Image.open(io.BytesIO(image.encoded)))
    assert pixels.shape == (64, 64)
    assert (pixels.reshape(8, 8, 8, 8) == pixels[::8, ::8][:, None, :, None]).all()
    assert image.sha256 == next(digits()).sha256
    known = truth("digits")
    assert (len(known), set(known.values())) == (1797, set("0123456789"))


def test_truth_of_a_folder_needs_folders_of_classes(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.png").write_bytes(png(1))
    assert list(truth(str(tmp_path)).values()) == ["good"]
    with pytest.raises(BadInput, match="knows no true labels"):
        truth(str(tmp_path / "good"))
