from dataclasses import replace

import pytest

from services.evaluator.gates import judge
from services.evaluator.gates.misses import images_needed, upper_bound
from services.evaluator.gates.shapes import Candidate, Gate, Limits, MissesLimit, SlicesLimit
from services.evaluator.intervals import Interval
from services.evaluator.slices import Slice

LIMITS = Limits(floors=(), compare="accuracy", margin=0.02, min_test_per_class=1, better_than_guessing=False)
CANDIDATE = Candidate(
    values={"accuracy": 0.84, "macro_recall": 0.79},
    support={"functional": 90, "defective": 41},
    right={"functional": 83, "defective": 39},
    dataset_number=4,
    macro_recall_low=0.7,
    calibration_error=0.032,
    size_mb=19.3,
)


def last(limits: Limits, candidate: Candidate = CANDIDATE) -> Gate:
    return judge(limits, candidate, None).gates[-1]


def test_what_the_card_does_not_ask_for_is_no_gate() -> None:
    assert [gate.name for gate in judge(LIMITS, CANDIDATE, None).gates] == ["test set"]


class TestGuessing:
    LIMITS = replace(LIMITS, better_than_guessing=True)

    def judged(self, accuracy: float, recall: float, low: float) -> Gate:
        values = {"accuracy": accuracy, "macro_recall": recall}
        support = {"good": 95, "bad": 5}
        return last(self.LIMITS, replace(CANDIDATE, values=values, support=support, macro_recall_low=low))

    def test_one_image_more_than_always_answering_the_commonest_class_is_enough(self) -> None:
        gate = self.judged(0.96, 0.6, 0.45)
        assert (gate.passed, gate.value, gate.limit) == (True, 0.96, 0.95)
        assert gate.sentence == "Accuracy is 96 %; always answering good would reach 95 %."

    def test_a_model_that_always_answers_the_commonest_class_fails(self) -> None:
        gate = self.judged(0.95, 0.5, 0.4)
        assert not gate.passed
        assert gate.sentence == (
            "Accuracy is 95 %, and always answering good would reach 95 % as well: it has not learnt to tell the "
            "classes apart. Are the labels right?"
        )
        assert self.judged(0.9, 0.5, 0.4).sentence.startswith(
            "Accuracy is 90 %, and always answering good would reach 95 %: it has not learnt"
        )

    def test_a_model_that_finds_the_rare_class_at_the_cost_of_accuracy_passes_when_that_is_no_luck(self) -> None:
        gate = self.judged(0.9, 0.85, 0.66)
        assert gate.passed
        assert gate.sentence == (
            "Accuracy is 90 %; always answering good would reach 95 %, but the candidate tells the classes apart: "
            "recall averaged over them is 85 %, where guessing reaches 50 %."
        )
        assert not self.judged(0.9, 0.6, 0.49).passed


class TestMisses:
    def judged(self, missed: int, of: int, at_most: float) -> Gate:
        candidate = replace(CANDIDATE, support={"bad": of, "good": 50}, right={"bad": of - missed, "good": 50})
        return last(replace(LIMITS, misses=(MissesLimit("bad", at_most),)), candidate)

    def test_the_bound_is_that_of_clopper_and_pearson(self) -> None:
        # The rule of three, exactly: of n images none is missed, so with 95 % confidence less than 1 - 0.05^(1/n).
        assert upper_bound(0, 30, 0.95) == pytest.approx(1 - 0.05 ** (1 / 30))
        # Clopper and Pearson 1934: 95 % two-sided limits of 4 of 10, whose upper one is one-sided 97.5 %.
        assert upper_bound(4, 10, 0.975) == pytest.approx(0.738, abs=5e-4)
        assert upper_bound(3, 3, 0.95) == 1

    def test_few_misses_of_many_pass(self) -> None:
        gate = self.judged(2, 41, 0.2)
        assert (gate.name, gate.passed, gate.limit) == ("misses: bad", True, 0.2)
        assert gate.sentence == (
            "The candidate misses 2 of 41 images of bad: with 95 % confidence at most 14.6 % in the long run, "
            "within the limit of 20 %."
        )

    def test_what_more_images_could_show_is_said(self) -> None:
        assert self.judged(2, 41, 0.1).sentence == (
            "The candidate misses 2 of 41 images of bad: with 95 % confidence that may be 14.6 % in the long run, "
            "over the limit of 10 %. More test images could show that it is less."
        )

    def test_no_miss_of_too_few_images_fails_and_says_how_many_it_takes(self) -> None:
        gate = self.judged(0, 20, 0.1)
        assert not gate.passed
        assert gate.sentence.endswith(
            "over the limit of 10 %. Even with none missed it takes 29 images of bad to show that."
        )
        assert self.judged(0, 29, 0.1).passed
        assert not self.judged(0, 28, 0.1).passed
        assert images_needed(MissesLimit("bad", 0.05)) == 59

    def test_too_many_misses_are_not_excused(self) -> None:
        assert self.judged(20, 50, 0.1).sentence.endswith("in the long run, over the limit of 10 %.")

    def test_a_class_without_images_or_unknown_fails(self) -> None:
        limits = replace(LIMITS, misses=(MissesLimit("cracked", 0.1),))
        assert last(limits).sentence == "What it misses of cracked cannot be told: the candidate does not know cracked."
        found = last(limits, replace(CANDIDATE, support={"cracked": 0, "good": 9}))
        assert (found.passed, found.sentence) == (
            False,
            "What it misses of cracked cannot be told: the test set has no image of cracked.",
        )


def part(value: str, images: int, score: float | None, key: str = "camera") -> Slice:
    return Slice(key, value, "accuracy", images, Interval(score))


class TestSlices:
    LIMIT = SlicesLimit(keys=("camera",), metric="accuracy", at_least=0.75, min_images=20)

    def judged(self, *slices: Slice, limit: SlicesLimit = LIMIT) -> Gate:
        return last(replace(LIMITS, slices=limit), replace(CANDIDATE, slices=slices))

    def test_the_worst_slice_decides_and_the_small_ones_do_not(self) -> None:
        gate = self.judged(part("1", 60, 0.9), part("3", 24, 0.71), part("7", 4, 0.25))
        assert (gate.name, gate.passed, gate.value, gate.limit) == ("slices: accuracy", False, 0.71, 0.75)
        assert gate.sentence == (
            "The worst of 2 slices is camera = 3: accuracy is 71 % on 24 images, below the limit of 75 %. "
            "1 slice has fewer than 20 images and does not decide."
        )
        assert self.judged(part("1", 60, 0.9), part("3", 24, 0.76)).sentence == (
            "The worst of 2 slices is camera = 3: accuracy is 76 % on 24 images, at or above the limit of 75 %."
        )

    def test_slices_that_are_all_small_block_nothing(self) -> None:
        gate = self.judged(part("1", 19, 0.1), part("2", 3, None))
        assert (gate.passed, gate.sentence) == (True, "No slice has 20 images that count for it, so none decides yet.")

    def test_a_large_slice_without_some_class_is_not_called_small(self) -> None:
        gate = self.judged(part("1", 60, None), limit=replace(self.LIMIT, metric="macro_f1"))
        assert (gate.passed, gate.sentence) == (
            True,
            "No slice of 20 images or more has every class, so none decides yet.",
        )
        gate = self.judged(part("1", 60, None), part("2", 40, 0.8), limit=replace(self.LIMIT, metric="macro_f1"))
        assert gate.sentence == (
            "The only slice that decides is camera = 2: F1 averaged over the classes is 80 % on 40 images, at or above "
            "the limit of 75 %. 1 slice has no image of some class and does not decide."
        )

    def test_a_key_that_no_image_has_fails(self) -> None:
        gate = self.judged(part("1", 60, 0.9, key="line"))
        assert not gate.passed
        assert gate.sentence.startswith("There are no slices by camera: no test image says it, or each says something")
        every = self.judged(limit=replace(self.LIMIT, keys=()))
        assert (every.passed, every.sentence[:33]) == (False, "There are no slices by metadata: ")


@pytest.mark.parametrize(
    ("limits", "passed", "value", "sentence"),
    [
        (
            replace(LIMITS, calibration_error_at_most=0.05),
            True,
            0.032,
            "The candidate's confidence is 3.2 points away from the share that is right, on average, within the limit "
            "of 5 points.",
        ),
        (
            replace(LIMITS, calibration_error_at_most=0.01),
            False,
            0.032,
            "The candidate's confidence is 3.2 points away from the share that is right, on average, more than the "
            "limit of 1 point: more validation images calibrate it better.",
        ),
        (replace(LIMITS, size_mb_at_most=50), True, 19.3, "The model's file has 19.3 MB, within the limit of 50 MB."),
        (
            replace(LIMITS, size_mb_at_most=10),
            False,
            19.3,
            "The model's file has 19.3 MB, over the limit of 10 MB: choose a smaller backbone or image size.",
        ),
    ],
)
def test_calibration_and_size_are_held_against_their_limits(
    limits: Limits, passed: bool, value: float, sentence: str
) -> None:
    gate = last(limits)
    assert (gate.passed, gate.value, gate.sentence) == (passed, value, sentence)
