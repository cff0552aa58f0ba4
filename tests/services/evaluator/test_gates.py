from dataclasses import replace

import pytest

from services.evaluator.comparison import Comparison
from services.evaluator.gates import judge
from services.evaluator.gates.shapes import Candidate, Champion, Limits
from services.evaluator.gates.words import listed, p_value, percents, points

LIMITS = Limits(
    floors=(("accuracy", 0.7), ("recall.defective", 0.6)), compare="accuracy", margin=0.02, min_test_per_class=5
)
CANDIDATE = Candidate(
    values={"accuracy": 0.84, "recall.defective": 0.65},
    support={"functional": 90, "defective": 41},
    right={"functional": 83, "defective": 27},
    dataset_number=4,
)
CHAMPION = Champion(3, 3, {"accuracy": 0.83}, {"accuracy": 0.84}, 131)


def compared(difference: float, p: float, *, only_candidate: int = 9, only_champion: int = 2) -> Champion:
    comparison = Comparison(
        "accuracy", 131, difference, difference - 0.04, difference + 0.04, p, "mcnemar", only_candidate, only_champion
    )
    return against(0.84 - difference, comparison=comparison)


def against(champion_accuracy: float, **changes: object) -> Champion:
    return replace(CHAMPION, values={"accuracy": champion_accuracy}, **changes)


def test_the_first_model_has_only_the_floors_to_pass() -> None:
    judgement = judge(LIMITS, CANDIDATE, None)
    assert judgement.verdict == "passed"
    assert judgement.sentence == "All 4 gates passed: the first model may serve."
    assert [gate.sentence for gate in judgement.gates] == [
        "Every class has 5 test images or more; the fewest are 41 of defective.",
        "Accuracy is 84 %; always answering functional would reach 68.7 %.",
        "Accuracy is 84 %, at or above the floor of 70 %.",
        "Recall of defective is 65 %, at or above the floor of 60 %.",
    ]


def test_a_floor_that_is_missed_fails_and_says_by_how_much() -> None:
    judgement = judge(LIMITS, replace(CANDIDATE, values={"accuracy": 0.6912, "recall.defective": 0.65}), None)
    assert judgement.verdict == "failed"
    assert judgement.sentence == "1 of 4 gates failed. Accuracy is 69.1 %, below the floor of 70 %."
    gate = judgement.gates[2]
    assert (gate.name, gate.passed, gate.value, gate.limit) == ("floor: accuracy", False, 0.6912, 0.7)


def test_exactly_the_floor_and_exactly_the_margin_are_enough() -> None:
    judgement = judge(
        replace(LIMITS, floors=(("accuracy", 0.84),)), CANDIDATE, against(0.86, candidate_values={"accuracy": 0.84})
    )
    assert judgement.verdict == "passed"
    assert judgement.sentence == "All 5 gates passed: the candidate may replace version 3."


@pytest.mark.parametrize(
    ("champion", "passed", "ends"),
    [
        (0.83, True, "that of the champion, version 3, 83 % on the same 131 images: better by 1 point."),
        (0.84, True, "equally good."),
        (0.853, True, "worse by 1.3 points, within the margin of 2 points."),
        (0.88, False, "worse by 4 points, more than the margin of 2 points."),
    ],
)
def test_worse_than_the_champion_by_more_than_the_margin_fails(champion: float, passed: bool, ends: str) -> None:
    judgement = judge(LIMITS, CANDIDATE, against(champion))
    gate = judgement.gates[-1]
    assert (gate.name, gate.passed) == ("champion: accuracy", passed)
    assert gate.sentence.startswith("Accuracy is 84 %, ")
    assert gate.sentence.endswith(ends)
    assert judgement.verdict == ("passed" if passed else "failed")


def test_too_few_test_images_of_a_class_cannot_be_judged_however_good_it_looks() -> None:
    judgement = judge(LIMITS, replace(CANDIDATE, support={"functional": 90, "defective": 3}), None)
    assert judgement.verdict == "cannot-be-judged"
    assert judgement.sentence == (
        "The candidate cannot be judged. The test set has 3 of defective, but a judgement needs 5 images of each "
        "class: label more images drawn at random."
    )


def test_an_empty_test_set_says_what_to_do() -> None:
    values: dict[str, float | None] = {"accuracy": None, "recall.defective": None}
    judgement = judge(LIMITS, replace(CANDIDATE, values=values, support={"functional": 0, "defective": 0}), None)
    assert judgement.verdict == "cannot-be-judged"
    assert judgement.sentence == (
        "The candidate cannot be judged. The test set is empty, but a judgement needs 5 images of each class: label "
        "more images drawn at random, or raise data.split.test on the card."
    )
    assert not any(gate.passed for gate in judgement.gates)


def test_how_far_chance_may_have_moved_a_difference_stands_beside_it() -> None:
    sentence = judge(LIMITS, CANDIDATE, compared(0.01, 0.65)).gates[-1].sentence
    assert sentence.endswith("131 images: better by 1 point (95 % interval -3 to +5 points, p = 0.65).")
    sentence = judge(LIMITS, CANDIDATE, compared(-0.04, 0.0002)).gates[-1].sentence
    assert sentence.endswith(
        "worse by 4 points (95 % interval -8 to 0 points, p < 0.001), more than the margin of 2 points."
    )


@pytest.mark.parametrize(
    ("gain", "difference", "passed", "ends"),
    [
        (0.02, 0.03, True, "better by 3 points, at least the 2 points that the card asks for."),
        (0.02, 0.02, True, "better by 2 points, at least the 2 points that the card asks for."),
        (0.02, 0.01, False, "better by 1 point, less than the 2 points that the card asks for."),
        (0.02, -0.01, False, "worse by 1 point, less than the 2 points that the card asks for."),
        (0.0, 0.0, True, "equally good."),
        (0.0, -0.01, False, "worse by 1 point, where the card asks for no worse."),
    ],
)
def test_a_gain_that_the_card_asks_for_takes_the_place_of_the_margin(
    gain: float, difference: float, passed: bool, ends: str
) -> None:
    gate = judge(replace(LIMITS, gain=gain), CANDIDATE, against(0.84 - difference)).gates[-1]
    assert gate.passed is passed
    assert gate.limit == pytest.approx(0.84 - difference + gain)
    assert gate.sentence.endswith(ends)


@pytest.mark.parametrize(
    ("champion", "passed", "sentence"),
    [
        (
            compared(0.05, 0.03),
            True,
            "The candidate is better, and hardly by luck: it alone is right on 9 images, the champion alone on 2 "
            "(McNemar's test, p = 0.03).",
        ),
        (
            compared(0.05, 0.3),
            False,
            "The candidate may be better by luck: it alone is right on 9 images, the champion alone on 2 (McNemar's "
            "test, p = 0.3, where the card asks for 0.05). A larger test set could tell.",
        ),
        (
            compared(-0.01, 0.01, only_candidate=1),
            False,
            "The candidate is not better than the champion: it alone is right on 1 image, the champion alone on 2.",
        ),
        (against(0.83), False, "Whether the candidate is better cannot be tested: a class has a single test image."),
        (
            replace(CHAMPION, values={}),
            True,
            "There is nothing of the champion to test the candidate against.",
        ),
    ],
)
def test_a_p_value_that_the_card_asks_for_is_a_gate_of_its_own(champion: Champion, passed: bool, sentence: str) -> None:
    gate = judge(replace(LIMITS, p_value_at_most=0.05), CANDIDATE, champion).gates[-1]
    assert (gate.name, gate.passed, gate.limit) == ("significance: accuracy", passed, 0.05)
    assert gate.sentence == sentence


def test_another_metric_than_accuracy_is_compared_in_its_own_words() -> None:
    found = Comparison("macro_f1", 131, -0.03, -0.05, -0.01, 0.01, "bootstrap", 9, 2)
    values = {"macro_f1": 0.8}
    champion = replace(CHAMPION, values=values, candidate_values={"macro_f1": 0.77}, comparison=found)
    limits = replace(LIMITS, compare="macro_f1", p_value_at_most=0.05)
    gate = judge(limits, CANDIDATE, champion).gates[-1]
    # By accuracy it would be the better one.
    assert gate.sentence == (
        "The candidate is not better than the champion: F1 averaged over the classes is worse by 3 points."
    )


def test_what_the_candidate_never_answers_cannot_be_tested_for_that_cause() -> None:
    metric = "precision.defective"
    champion = replace(CHAMPION, values={metric: 0.8}, candidate_values={metric: None})
    gate = judge(replace(LIMITS, compare=metric, p_value_at_most=0.05), CANDIDATE, champion).gates[-1]
    assert gate.sentence == (
        "Whether the candidate is better cannot be tested: its precision of defective cannot be computed."
    )


def test_a_candidate_from_an_older_dataset_than_the_champions_is_overtaken() -> None:
    judgement = judge(LIMITS, replace(CANDIDATE, dataset_number=2), CHAMPION)
    assert judgement.verdict == "failed"
    assert "It was overtaken: trained on dataset version 2, while the champion knows version 3." in judgement.sentence


def test_a_metric_that_cannot_be_computed_does_not_pass_a_floor() -> None:
    values = {"accuracy": 0.84, "recall.defective": 0.65, "precision.defective": None, "macro_f1": None}
    limits = replace(LIMITS, floors=(("precision.defective", 0.5), ("recall.cracked", 0.5), ("macro_f1", 0.5)))
    judgement = judge(limits, replace(CANDIDATE, values=values), None)
    assert [gate.sentence for gate in judgement.gates[2:]] == [
        "Precision of defective cannot be computed: the candidate never answers defective.",
        "Recall of cracked cannot be computed: the candidate does not know cracked.",
        "F1 averaged over the classes cannot be computed: the test set lacks a class.",
    ]
    assert judgement.verdict == "failed"


def test_other_classes_than_the_champions_are_named_in_the_sentence() -> None:
    champion = replace(CHAMPION, only_candidate_knows=("cracked", "dirty"), only_champion_knows=("old",))
    sentence = judge(LIMITS, CANDIDATE, champion).gates[-1].sentence
    assert (
        "on the same 131 images of the classes that both know (the champion does not know cracked and dirty; "
        in sentence
    )
    assert "the candidate no longer knows old): better by 1 point." in sentence


def test_a_champion_that_cannot_be_measured_is_no_obstacle() -> None:
    judgement = judge(LIMITS, CANDIDATE, replace(CHAMPION, values={}, candidate_values={}, images=0))
    assert judgement.verdict == "passed"
    assert judgement.gates[-1].sentence.endswith("cannot be computed on the same 0 images: nothing to beat.")


def test_numbers_have_the_digits_that_tell_them_apart() -> None:
    assert percents(0.7, 0.7) == ("70 %", "70 %")
    assert percents(0.69996, 0.7) == ("69.996 %", "70 %")
    assert (points(0.01), points(0.0), points(0.0004)) == ("1 point", "0 points", "0.04 points")
    assert (p_value(0.5), p_value(0.04321), p_value(1e-9)) == ("p = 0.5", "p = 0.043", "p < 0.001")
    assert (listed(["a"]), listed(["a", "b", "c"])) == ("a", "a, b and c")
