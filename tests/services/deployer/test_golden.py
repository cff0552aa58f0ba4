import io

import numpy as np
import pytest

from services.deployer.golden import NotGolden, compare, read
from tests.services.deployer.world import CLASSES, GOLDEN, golden_npz


def test_equal_answers_pass() -> None:
    compared = compare(read(golden_npz()), GOLDEN + np.float32(5e-4), CLASSES)
    assert (compared.images, compared.problem) == (3, "")
    assert compared.largest_difference == pytest.approx(5e-4, rel=1e-3)


def test_other_probability_fails_with_its_numbers() -> None:
    answered = GOLDEN.copy()
    answered[1] = [0.3, 0.75]
    compared = compare(read(golden_npz()), answered, CLASSES)
    assert compared.largest_difference == pytest.approx(0.1, rel=1e-3)
    assert compared.problem == (
        "golden image 2 of 3: defective, but with 0.3000 for functional where PyTorch has 0.2000: "
        "0.1000 apart, 0.001 is allowed"
    )


def test_other_class_fails_however_close() -> None:
    golden = read(golden_npz(np.array([[0.5001, 0.4999]], dtype=np.float32)))
    compared = compare(golden, np.array([[0.4999, 0.5001]], dtype=np.float32), CLASSES)
    assert compared.problem.startswith("golden image 1 of 1: defective instead of functional with 0.4999")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_fails(bad: float) -> None:
    answered = GOLDEN.copy()
    answered[2, 0] = bad
    assert compare(read(golden_npz()), answered, CLASSES).problem


def test_other_number_of_classes_fails() -> None:
    assert compare(read(golden_npz()), np.ones((3, 5), dtype=np.float32), CLASSES).problem
    assert compare(read(golden_npz()), GOLDEN, ("a", "b", "c")).problem


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip",
        _npz(probabilities=GOLDEN),
        _npz(image_0=np.zeros((3, 4, 4), np.uint8)),
        golden_npz(np.zeros((0, 2), dtype=np.float32)),
        _npz(probabilities=GOLDEN[:1], image_0=np.zeros((3, 4, 4), np.float32)),
        _npz(probabilities=np.array([{}], dtype=object), image_0=np.zeros((3, 4, 4), np.uint8)),
    ],
)
def test_what_holds_no_golden_images_is_refused(data: bytes) -> None:
    with pytest.raises(NotGolden):
        read(data)
