import numpy as np
import pytest

from services.predictor.answer import Serving, Unanswerable, grey, in_turn, verdict

SERVING = Serving(version=4, model="solar-v4", classes=("a", "b"), max_side=64, nodes=("x",))


def test_likeliest_class_is_the_answer_and_rounding_stays_within_one() -> None:
    said = verdict(SERVING, np.array([-1e-8, 1.0000001], dtype=np.float32))
    assert (said.label, said.confidence, said.probabilities) == ("b", 1.0, (0.0, 1.0))


@pytest.mark.parametrize("probabilities", [[np.nan, 1.0], [1.0], [0.2, 0.3, 0.5]])
def test_what_is_no_probability_for_each_class_is_no_answer(probabilities: list[float]) -> None:
    with pytest.raises(Unanswerable, match="the model is broken"):
        verdict(SERVING, np.array(probabilities, dtype=np.float32))


def test_heat_map_is_bright_where_it_is_one() -> None:
    assert grey(np.array([[0.0, 0.5, 1.0, 1.2, np.nan]], dtype=np.float32)).tolist() == [[0, 128, 255, 255, 0]]


def test_calls_spread_over_the_nodes() -> None:
    assert [in_turn("abc", turn) for turn in range(4)] == [tuple("abc"), tuple("bca"), tuple("cab"), tuple("abc")]
