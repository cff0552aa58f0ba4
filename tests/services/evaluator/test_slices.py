from typing import Any

import numpy as np

from services.evaluator.slices import Slice, Value, slices

CLASSES = ("good", "bad")


def sliced(metadata: list[dict[str, Value]], truth: list[int], answers: list[int], **options: Any) -> tuple[Slice, ...]:
    probabilities = np.eye(2)[answers] * 0.8 + 0.1
    return slices(metadata, np.array(truth), probabilities, CLASSES, **{"metric": "accuracy", **options})


def seen(found: tuple[Slice, ...]) -> list[tuple[str, str, int, float | None]]:
    return [(one.key, one.value, one.images, one.score.value) for one in found]


def test_each_value_of_each_key_is_a_slice_and_an_image_without_the_key_is_in_none() -> None:
    metadata: list[dict[str, Value]] = [{"camera": 1, "mono": True}, {"camera": 2, "mono": False}, {"camera": 2}, {}]
    found = sliced(metadata, [0, 1, 1, 0], [0, 1, 0, 1])
    assert seen(found) == [
        ("camera", "1", 1, 1.0),
        ("camera", "2", 2, 0.5),
        ("mono", "no", 1, 1.0),
        ("mono", "yes", 1, 1.0),
    ]
    assert found[1].score.low is not None
    assert found[1].score.low < 0.5
    assert seen(sliced(metadata, [0, 1, 1, 0], [0, 1, 0, 1], keys=("mono",))) == seen(found[2:])
    assert sliced(metadata, [0, 1, 1, 0], [0, 1, 0, 1], keys=("line",)) == ()


def test_only_images_that_count_for_the_metric_are_counted() -> None:
    metadata: list[dict[str, Value]] = [{"camera": 1}] * 5
    truth, answers = [1, 1, 0, 0, 0], [1, 0, 0, 0, 1]
    assert seen(sliced(metadata, truth, answers, metric="recall.bad")) == [("camera", "1", 2, 0.5)]
    assert seen(sliced(metadata, truth, answers, metric="precision.good")) == [("camera", "1", 3, 2 / 3)]
    assert seen(sliced(metadata, [0] * 5, answers, metric="recall.bad")) == [("camera", "1", 0, None)]


def test_numbers_of_many_values_are_cut_into_quarters_and_names_of_images_make_no_slices() -> None:
    n = 40
    metadata: list[dict[str, Value]] = [{"exposure": row / 10, "file": f"{row}.png"} for row in range(n)]
    found = sliced(metadata, [0] * n, [0] * 10 + [1] * 30)
    assert seen(found) == [
        ("exposure", "0 to 0.9", 10, 1.0),
        ("exposure", "1 to 1.9", 10, 0.0),
        ("exposure", "2 to 2.9", 10, 0.0),
        ("exposure", "3 to 3.9", 10, 0.0),
    ]


def test_a_test_set_of_many_keys_makes_a_bounded_number_of_slices() -> None:
    metadata: list[dict[str, Value]] = [{f"key{key:02}": row % 20 for key in range(30)} for row in range(60)]
    assert len(sliced(metadata, [0] * 60, [0] * 60)) == 10 * 20
    (found,) = sliced([{"note": "x" * 10_000, "k" * 10_000: 1}], [0], [0])
    assert (found.key, found.value) == ("note", "x" * 100)
