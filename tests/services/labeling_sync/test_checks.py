from services.labeling_sync.checks import failed_checks
from services.labeling_sync.datasets import MAX_IMAGES_NAMED, Row

CLASSES = ("good", "bad")


def sha(number: int) -> str:
    return f"{number:064x}"


def rows(label: str, count: int, first: int = 0) -> list[Row]:
    return [Row(sha(first + n), "", label, "train", "random", "", 1, 1) for n in range(count)]


def test_failed_checks_say_what_to_do_and_name_images() -> None:
    many, good = rows("odd", 150), rows("good", 5, 200)
    checks = {one.check: one for one in failed_checks([*many, *good], "solar", CLASSES, 5, {sha(200): "gone"})}
    assert set(checks) == {"label-not-on-card", "picture-unreadable", "too-few-of-a-class"}
    assert checks["label-not-on-card"].sentence.startswith("150 images are labelled odd, which is not on the card")
    assert len(checks["label-not-on-card"].images) == MAX_IMAGES_NAMED
    assert checks["picture-unreadable"].images == (sha(200),)
    assert checks["too-few-of-a-class"].sentence.startswith("bad has 0 training images of the 5")


def test_nothing_labelled_is_one_failed_check() -> None:
    (check,) = failed_checks([], "solar", CLASSES, 5, {})
    assert check.check == "no-labels"


def test_labels_that_are_all_alike_are_refused_in_a_sentence() -> None:
    (check,) = failed_checks(rows("good", 40), "solar", ("good", "bad", "ugly"), 5, {})
    assert check.check == "all-labels-alike"
    assert check.sentence == (
        "all 40 images are labelled good, so there is nothing to tell apart: label some that are bad or ugly"
    )


def test_a_recipe_that_learns_what_is_normal_needs_the_first_class_alone() -> None:
    assert failed_checks(rows("good", 5), "solar", CLASSES, 5, {}, every_class=False) == []
    (check,) = failed_checks(rows("bad", 9), "solar", CLASSES, 5, {}, every_class=False)
    assert check.sentence.startswith("good has 0 training images of the 5")
