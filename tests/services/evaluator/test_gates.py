from dataclasses import replace

import pytest

from services.evaluator.gates import Candidate, Champion, Limits, judge, percents, points

LIMITS = Limits(
    floors=(("accuracy", 0.7), ("recall.defective", 0.6)), compare="accuracy", margin=0.02, min_test_per_class=5
)
CANDIDATE = Candidate({"accuracy": 0.84, "recall.defective": 0.65}, {"functional": 90, "defective": 41}, 4)
CHAMPION = Champion(3, 3, {"accuracy": 0.83}, {"accuracy": 0.84}, 131)


def against(champion_accuracy: float, **changes: object) -> Champion:
    return replace(CHAMPION, values={"accuracy": champion_accuracy}, **changes)


def test_the_first_model_has_only_the_floors_to_pass() -> None:
    judgement = judge(LIMITS, CANDIDATE, None)
    assert judgement.verdict == "passed"
    assert judgement.sentence == "All 3 gates passed: the first model may serve."
    assert [gate.sentence for gate in judgement.gates] == [
        "Every class has 5 test images or more; the fewest are 41 of defective.",
        "Accuracy is 84 %, at or above the floor of 70 %.",
        "Recall of defective is 65 %, at or above the floor of 60 %.",
    ]


def test_a_floor_that_is_missed_fails_and_says_by_how_much() -> None:
    judgement = judge(LIMITS, replace(CANDIDATE, values={"accuracy": 0.6512, "recall.defective": 0.65}), None)
    assert judgement.verdict == "failed"
    assert judgement.sentence == "1 of 3 gates failed. Accuracy is 65.1 %, below the floor of 70 %."
    gate = judgement.gates[1]
    assert (gate.name, gate.passed, gate.value, gate.limit) == ("floor: accuracy", False, 0.6512, 0.7)


def test_exactly_the_floor_and_exactly_the_margin_are_enough() -> None:
    judgement = judge(
        replace(LIMITS, floors=(("accuracy", 0.84),)), CANDIDATE, against(0.86, candidate_values={"accuracy": 0.84})
    )
    assert judgement.verdict == "passed"
    assert judgement.sentence == "All 4 gates passed: the candidate may replace version 3."


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


def test_a_candidate_from_an_older_dataset_than_the_champions_is_overtaken() -> None:
    judgement = judge(LIMITS, replace(CANDIDATE, dataset_number=2), CHAMPION)
    assert judgement.verdict == "failed"
    assert "It was overtaken: trained on dataset version 2, while the champion knows version 3." in judgement.sentence


def test_a_metric_that_cannot_be_computed_does_not_pass_a_floor() -> None:
    values = {"accuracy": 0.84, "recall.defective": 0.65, "precision.defective": None}
    limits = replace(LIMITS, floors=(("precision.defective", 0.5), ("recall.cracked", 0.5)))
    judgement = judge(limits, replace(CANDIDATE, values=values), None)
    assert [gate.sentence for gate in judgement.gates[1:]] == [
        "Precision of defective cannot be computed: the candidate never answers defective.",
        "Recall of cracked cannot be computed: the candidate does not know cracked.",
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
