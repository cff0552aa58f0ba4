import numpy as np
import pytest
from scipy import stats

from services.evaluator.comparison import bootstrap, compare, mcnemar, newcombe
from services.evaluator.intervals import Labels, Probabilities

CLASSES = ("a", "b", "c")


def answers(truth: Labels, sees: float, seed: int) -> Probabilities:
    """Probabilities [n, 3], the better the larger `sees`."""
    logits = np.random.default_rng(seed).normal(size=(len(truth), 3))
    logits[np.arange(len(truth)), truth] += sees
    found = np.exp(logits)
    return found / found.sum(axis=1, keepdims=True)


def truth_of(n: int, seed: int = 7) -> Labels:
    return np.random.default_rng(seed).integers(0, 3, n)


def test_mcnemar_and_newcombe_give_the_published_numbers() -> None:
    # Fagerland, Lydersen and Laake 2013 and 2014, airway hyper-responsiveness: 1, 1, 7 and 12 of 21 children.
    assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)
    assert newcombe(1, 1, 7, 12) == (pytest.approx(-0.507, abs=5e-4), pytest.approx(-0.0256, abs=5e-4))
    # Newcombe 1998 on paired data, method 10 of 36, 12, 2 and 0.
    assert newcombe(36, 12, 2, 0) == (pytest.approx(0.0569, abs=5e-5), pytest.approx(0.3404, abs=5e-5))


def test_models_that_never_disagree_do_not_differ_and_keep_an_interval() -> None:
    assert mcnemar(0, 0) == 1
    low, high = newcombe(120, 0, 0, 11)
    assert -0.1 < low < 0 < high < 0.1
    truth = truth_of(60)
    same = answers(truth, 2, 1)
    found = compare(truth, same, same, CLASSES, "macro_f1")
    assert found
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("metric", ["accuracy", "macro_recall", "macro_f1", "roc_auc", "recall.b", "precision.b"])
def test_a_clear_gain_is_told_from_none(metric: str) -> None:
    truth = truth_of(300)
    better, worse = answers(truth, 3, 1), answers(truth, 1, 2)
    found = compare(truth, better, worse, CLASSES, metric)
    assert found
    assert found.low is not None
    assert found.high is not None
    assert found.p_value is not None
    assert found.test == ("mcnemar" if metric == "accuracy" else "bootstrap")
    assert 0 < found.low < found.difference < found.high
    assert found.p_value < 0.01
    assert compare(truth, better, worse, CLASSES, metric) == found
    other_way = compare(truth, worse, better, CLASSES, metric)
    assert other_way
    assert other_way.difference == pytest.approx(-found.difference)
    assert (other_way.only_candidate_right, other_way.only_champion_right) == (
        found.only_champion_right,
        found.only_candidate_right,
    )
    equal = compare(truth, better, answers(truth, 3, 3), CLASSES, metric)
    assert equal
    assert equal.p_value is not None
    assert equal.p_value > 0.05


def test_the_bootstrap_is_as_wide_as_theory_says() -> None:
    # The recall of one class is a mean: the difference of two has a standard error that can be written down.
    truth = truth_of(900)
    one, other = answers(truth, 1.5, 1), answers(truth, 1.5, 2)
    of_class = truth == 1
    differ = (one.argmax(1) == 1)[of_class].astype(float) - (other.argmax(1) == 1)[of_class]
    error = float(stats.sem(differ))
    low, high, _ = bootstrap(truth, one, other, CLASSES, "recall.b")
    assert low == pytest.approx(differ.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(differ.mean() + 1.96 * error, abs=0.2 * error)


def test_what_cannot_be_computed_is_not_compared() -> None:
    truth = np.array([0, 0, 1, 1])
    asked = np.eye(3)[truth]
    assert compare(truth, asked, asked, CLASSES, "macro_recall") is None
    assert compare(truth, asked, asked, CLASSES, "recall.unknown") is None


def test_a_class_with_one_image_has_a_difference_and_no_interval() -> None:
    truth = np.array([0, 0, 1, 1, 2])
    found = compare(truth, np.eye(3)[truth], np.eye(3)[[0, 1, 1, 1, 2]], CLASSES, "macro_recall")
    assert found
    assert found.difference == pytest.approx(1 / 6)
    assert (found.low, found.high, found.p_value) == (None, None, None)


@pytest.mark.parametrize("metric", ["accuracy", "macro_recall"])
def test_no_gain_is_called_one_no_more_often_than_promised(metric: str) -> None:
    # 200 pairs of equally good models: p <= 0.05 in about 10 of them, and in 18 or more with a chance below 1 %.
    found = 0
    for seed in range(200):
        truth = truth_of(80, seed)
        comparison = compare(truth, answers(truth, 2, 1000 + seed), answers(truth, 2, 5000 + seed), CLASSES, metric)
        assert comparison
        assert comparison.p_value is not None
        found += comparison.p_value <= 0.05
    assert found < 18
