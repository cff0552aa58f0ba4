from datetime import UTC, datetime, timedelta

import pytest

from services.labeling_sync.annotators import Rule, agreement_of, opinions, resolved
from services.labeling_sync.labels import Annotation

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def given(*said: tuple[str, str | None], skipped: str = "") -> list[Annotation]:
    """(who, what) in the order in which it was said."""
    return opinions(
        Annotation(place, label, who == skipped, who, None, NOON + timedelta(seconds=place))
        for place, (who, label) in enumerate(said)
    )


def test_each_person_has_one_opinion_the_latest() -> None:
    said = given(("ada", "good"), ("bob", "bad"), ("ada", "ugly"), ("eve", None), ("dan", "bad"), skipped="dan")
    assert [(one.annotator, one.label) for one in said] == [("bob", "bad"), ("ada", "ugly")]


@pytest.mark.parametrize(
    ("rule", "said", "label"),
    [
        ("last", "good good bad", "bad"),
        ("majority", "good good bad", "good"),
        ("majority", "good bad", "bad"),
        ("majority", "good bad ugly good bad", "bad"),
        ("agreement", "good good", "good"),
        ("agreement", "good good bad", None),
        ("agreement", "bad", "bad"),
        ("last", "", None),
        ("majority", "", None),
    ],
)
def test_the_rule_of_the_card_says_which_label_counts(rule: Rule, said: str, label: str | None) -> None:
    found = resolved(given(*((f"person {place}", one) for place, one in enumerate(said.split()))), rule)
    assert (found.label if found else None) == label


def test_agreement_is_known_where_two_people_labelled() -> None:
    assert agreement_of([given(("ada", "good")), given(("ada", "good"), ("ada", "bad"))]) is None


def test_two_people_agree_by_chance_now_and_then() -> None:
    """9 of 10 images alike, 10 of 20 labels each: 0.9 raw, 0.5 by chance."""
    images = [given(("ada", "good"), ("bob", "good"))] * 4 + [given(("ada", "bad"), ("bob", "bad"))] * 5
    images.append(given(("ada", "good"), ("bob", "bad")))
    found = agreement_of([*images, given(("eve", "good"))])
    assert found is not None
    assert (found.images, found.annotators) == (10, 2)
    assert found.raw == pytest.approx(0.9)
    chance = (9 / 20) ** 2 + (11 / 20) ** 2
    assert found.kappa == pytest.approx((0.9 - chance) / (1 - chance))


def test_kappa_is_that_of_the_example_in_fleiss_1971() -> None:
    """10 subjects, 14 raters, 5 categories: kappa 0.210 (the table is widely reprinted)."""
    table = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    images = []
    for counts in table:
        labels = [str(place) for place, count in enumerate(counts) for _ in range(count)]
        images.append(given(*((f"rater {rater}", label) for rater, label in enumerate(labels))))
    found = agreement_of(images)
    assert found is not None
    assert (found.raw, found.kappa) == (pytest.approx(0.378, abs=1e-3), pytest.approx(0.210, abs=1e-3))


def test_people_who_say_one_class_only_agree_without_a_kappa() -> None:
    found = agreement_of([given(("ada", "good"), ("bob", "good"))])
    assert found is not None
    assert (found.raw, found.kappa) == (1.0, None)
