import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from services.evaluator.calibration import calibration


def with_confidence(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities of two classes: class 0 is answered with this confidence, and is it where `right`."""
    return np.where(right, 0, 1), np.stack([confidence, 1 - confidence], axis=1)


def test_a_model_that_is_as_sure_as_it_is_right_has_no_error_and_one_that_is_too_sure_has_it() -> None:
    right = np.arange(100) % 5 != 0
    honest = calibration(*with_confidence(np.full(100, 0.8), right))
    boastful = calibration(*with_confidence(np.full(100, 0.99), right))
    assert honest
    assert boastful
    assert honest.error == pytest.approx(0)
    assert boastful.error == pytest.approx(0.19)


def test_bins_hold_equally_many_images_by_growing_confidence() -> None:
    chance = np.random.default_rng(0)
    confidence = chance.uniform(0.5, 1, 130)
    found = calibration(*with_confidence(confidence, chance.random(130) < confidence))
    assert found
    assert [one.images for one in found.bins] == [26] * 5
    assert [one.confidence for one in found.bins] == sorted(one.confidence for one in found.bins)
    weighted = sum(one.images * abs(one.confidence - one.accuracy) for one in found.bins) / 130
    assert found.error == pytest.approx(weighted)


@pytest.mark.parametrize(("images", "bins"), [(1, 1), (49, 1), (50, 2), (2000, 15)])
def test_a_bin_is_not_judged_by_a_handful_of_images(images: int, bins: int) -> None:
    found = calibration(*with_confidence(np.linspace(0.5, 1, images), np.ones(images, bool)))
    assert found
    assert len(found.bins) == bins


@pytest.mark.parametrize("classes", [2, 4])
def test_the_brier_score_is_that_of_a_well_known_library_halved(classes: int) -> None:
    chance = np.random.default_rng(1)
    truth = chance.integers(0, classes, 60)
    probabilities = chance.dirichlet(np.ones(classes), 60)
    found = calibration(truth, probabilities)
    assert found
    expected = brier_score_loss(truth, probabilities, labels=list(range(classes)), scale_by_half=True)
    assert found.brier == pytest.approx(expected)


def test_nothing_is_known_without_images() -> None:
    assert calibration(np.array([], np.int64), np.empty((0, 2))) is None
