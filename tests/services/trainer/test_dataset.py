import pytest

from services.trainer.dataset import Dataset, NotTrainable


def row(sha256: str, label: str, split: str) -> dict[str, object]:
    return {"sha256": sha256, "uri": f"blob://{sha256}", "label": label, "split": split, "width": 8, "height": 8}


ROWS = [row("b", "good", "train"), row("a", "bad", "train"), row("c", "good", "test"), row("d", "bad", "validation")]


def test_the_order_of_the_manifest_changes_nothing() -> None:
    assert Dataset.of(ROWS, ("good", "bad")) == Dataset.of(ROWS[::-1], ("good", "bad"))


def test_a_class_without_a_training_image_is_refused_by_name() -> None:
    with pytest.raises(NotTrainable, match="no training image shows bad: label some"):
        Dataset.of([row("a", "good", "train"), row("b", "bad", "test")], ("good", "bad"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [(row("x", "brokn", "train"), "'brokn', which is not one of good, bad"), (row("x", "bad", "exam"), "'exam'")],
)
def test_an_unknown_class_or_split_is_refused_by_name(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(NotTrainable, match=says):
        Dataset.of([*ROWS, wrong], ("good", "bad"))


def test_golden_images_come_from_test_first_and_show_classes_in_turn() -> None:
    rows = [row(f"t{n}", "good", "test") for n in range(5)] + [row("u", "bad", "test"), *ROWS]
    dataset = Dataset.of(rows, ("good", "bad"))
    golden = dataset.golden(4)
    assert [example.label for example in golden] == [0, 1, 0, 0]
    assert {example.split for example in golden} == {"test"}
    assert len(dataset.golden(100)) == len(rows)


def test_a_recipe_that_learns_what_is_normal_needs_the_first_class_alone() -> None:
    rows = [row("a", "good", "train"), row("b", "good", "test")]
    dataset = Dataset.of(rows, ("good", "bad"), every_class=False)
    assert [example.label for example in dataset.examples] == [0, 0]
    with pytest.raises(NotTrainable, match="no training image shows bad"):
        Dataset.of(rows, ("good", "bad"))
    with pytest.raises(NotTrainable, match="no training image shows bad"):
        Dataset.of(rows, ("bad", "good"), every_class=False)
