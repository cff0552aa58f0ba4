import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score, roc_auc_score

from services.evaluator.intervals import Interval, mean_of_proportions, wilson
from services.evaluator.metrics import macro_f1, scores
from services.evaluator.roc import hanley_mcneil, roc_auc


def drawn(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, classes, n)
    logits = chance.normal(size=(n, classes))
    logits[np.arange(n), truth] += 1.5
    probabilities = np.exp(logits)
    return truth, probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 5])
def test_values_are_those_of_a_well_known_library(classes: int) -> None:
    truth, probabilities = drawn(200, classes)
    found = scores(truth, probabilities, [f"c{index}" for index in range(classes)])
    answered = probabilities.argmax(axis=1)
    assert found.accuracy.value == pytest.approx((truth == answered).mean())
    assert [one.recall.value for one in found.classes] == pytest.approx(recall_score(truth, answered, average=None))
    assert [one.precision.value for one in found.classes] == pytest.approx(
        precision_score(truth, answered, average=None)
    )
    assert found.macro_recall.value == pytest.approx(recall_score(truth, answered, average="macro"))
    assert found.macro_f1.value == pytest.approx(f1_score(truth, answered, average="macro"))
    asked = probabilities[:, 1] if classes == 2 else probabilities
    assert found.roc_auc.value == pytest.approx(roc_auc_score(truth, asked, multi_class="ovr"))
    assert np.array_equal(found.confusion, confusion_matrix(truth, answered))
    assert sum(one.support for one in found.classes) == found.test_images == 200


def test_every_interval_holds_its_value_and_stays_within_bounds() -> None:
    for seed in range(5):
        truth, probabilities = drawn(12, 3, seed)
        found = scores(truth, probabilities, ["a", "b", "c"])
        numbers = [found.accuracy, found.macro_recall, found.macro_f1, found.roc_auc]
        numbers += [one.precision for one in found.classes] + [one.recall for one in found.classes]
        for number in numbers:
            if number.value is not None:
                assert number.low is not None
                assert number.high is not None
                assert 0 <= number.low <= number.value <= number.high <= 1


def test_wilson_gives_the_published_interval() -> None:
    # Newcombe 1998, table I: 81 of 263.
    found = wilson(81, 263)
    assert (found.low, found.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson(0, 0) == Interval(None)
    assert wilson(5, 5).low == pytest.approx(0.5655, abs=5e-5)


def test_hanley_and_mcneil_give_the_published_standard_error() -> None:
    # Hanley and McNeil 1982: an area of 0.893 from 51 abnormal and 58 normal images have an error of 0.032.
    assert hanley_mcneil(0.893, 51, 58) == pytest.approx(0.032, abs=6e-4)


def test_the_interval_of_macro_f1_is_as_wide_as_the_spread_of_many_samples() -> None:
    shares = np.array([[0.5, 0.1], [0.05, 0.35]])
    chance = np.random.default_rng(0)
    drawn = [macro_f1(chance.multinomial(400, shares.ravel()).reshape(2, 2)).value for _ in range(2000)]
    found = macro_f1((shares * 400).round().astype(np.int64))
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(np.array(drawn, float)), rel=0.06)


def test_macro_f1_of_a_faultless_model_keeps_an_interval() -> None:
    assert macro_f1(np.array([[5, 0], [0, 5]])) == wilson(10, 10)
    assert macro_f1(np.array([[0, 5], [5, 0]])) == wilson(0, 10)
    assert macro_f1(np.array([[5, 0], [0, 0]])) == Interval(None)


def test_ties_count_as_half() -> None:
    assert roc_auc(np.array([0.5, 0.9]), np.array([0.5, 0.1])) == pytest.approx(3.5 / 4)


def test_what_cannot_be_computed_is_said_to_be_missing() -> None:
    found = scores(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]), ["good", "bad"])
    assert (
        found.roc_auc
        == found.macro_f1
        == found.macro_recall
        == found.classes[1].recall
        == found.classes[1].precision
        == Interval(None)
    )
    assert found.classes[0].recall.value == 1
    nothing = scores(np.array([], np.int64), np.empty((0, 2)), ["good", "bad"])
    assert (nothing.test_images, nothing.accuracy) == (0, Interval(None))
    assert mean_of_proportions([]) == Interval(None)


def test_answers_that_do_not_fit_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 images of 3 classes have answers of shape"):
        scores(np.array([0, 1]), np.ones((2, 2)), ["a", "b", "c"])
