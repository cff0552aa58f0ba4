from datetime import timedelta, timezone

import pytest

from tests.said import at
from webapp.words import clock, mix, percent, plain, short


def test_text_from_the_bus_stays_text() -> None:
    assert plain("**bold** :red[x] <b> a_b $1$") == r"\*\*bold\*\* \:red\[x\] \<b\> a\_b \$1\$"
    assert plain("two\n\n# lines") == r"two \# lines"


def test_less_than_all_is_never_told_as_all() -> None:
    assert [percent(share) for share in (0, 0.004, 0.999, 1)] == ["0 %", "0 %", "99 %", "100 %"]


def test_times_are_told_where_the_reader_is_and_with_a_date_when_old() -> None:
    berlin = timezone(timedelta(hours=1))
    assert clock(at(0), at(60), berlin) == "10:00:00"
    assert clock(at(-86_400), at(0), berlin) == "23 Nov 10:00"


def test_rare_classes_are_told_together() -> None:
    assert mix((("a", 6), ("b", 4))) == [("a", 0.6), ("b", 0.4)]
    rare = mix((("a", 4), ("b", 3), ("c", 1), ("d", 1), ("e", 1)), most=3)
    assert [label for label, _ in rare] == ["a", "b", "others"]
    assert sum(share for _, share in rare) == pytest.approx(1)
    assert mix(()) == []


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert short("a long sentence", 7) == "a long…"
