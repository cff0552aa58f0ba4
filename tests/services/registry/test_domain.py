import pytest

from services.registry.domain import (
    Aliases,
    after_deployment,
    gates_sentence,
    is_by_hand,
    is_outdated,
    to_put_back,
    withdrawn_by,
)


@pytest.mark.parametrize(
    ("now", "version", "replaces", "then"),
    [
        pytest.param(Aliases(), 1, None, Aliases(1, None), id="the first"),
        pytest.param(Aliases(1, None), 2, 1, Aliases(2, 1), id="the second"),
        pytest.param(Aliases(2, 1), 3, 2, Aliases(3, 2), id="the third"),
        pytest.param(Aliases(2, 1), 3, None, Aliases(3, 2), id="the deployer forgot what served"),
        pytest.param(Aliases(1, None), 3, 2, Aliases(3, 2), id="the promotion of 2 was missed"),
        pytest.param(Aliases(3, 2), 2, 3, Aliases(2, 3), id="back to an older one"),
        pytest.param(Aliases(3, 2), 3, 2, Aliases(3, 2), id="heard twice"),
        pytest.param(Aliases(3, 2), 3, None, Aliases(3, 2), id="heard twice, the deployer forgot"),
        pytest.param(Aliases(3, 2), 3, 3, Aliases(3, 2), id="takes its own place"),
        pytest.param(Aliases(2, 2), 3, 2, Aliases(3, 2), id="crashed between the two aliases"),
    ],
)
def test_aliases_follow_what_serves(now: Aliases, version: int, replaces: int | None, then: Aliases) -> None:
    assert after_deployment(now, version, replaces) == then


def test_newest_dataset_wins() -> None:
    assert not is_outdated(4, None)
    assert not is_outdated(4, 3)
    assert not is_outdated(4, 4)
    assert is_outdated(4, 5)


def test_approval_says_why() -> None:
    assert [gates_sentence(n) for n in (0, 1, 4)] == [
        "the card has no gates",
        "the only gate passed",
        "all 4 gates passed",
    ]


def test_what_was_taken_back_is_no_way_back() -> None:
    assert after_deployment(Aliases(3, 2), 2, 3, [1, 2, 3, 2], {3}) == Aliases(2, 1)
    assert after_deployment(Aliases(2, 1), 1, 2, [1, 2, 1], {2}) == Aliases(1, None)
    assert to_put_back([1, 2, 3], 3, {3}) == 2
    assert to_put_back([1, 2, 3], 3, {2, 3}) == 1
    assert to_put_back([3], 3, {3}) is None


def test_the_last_word_of_a_person_counts() -> None:
    assert withdrawn_by([]) == set()
    assert withdrawn_by([(5, 1, True), (4, 1, False), (6, 2, False), (3, 2, True)]) == {2}


@pytest.mark.parametrize(
    ("champion", "serving", "promoted", "by_hand"),
    [
        (None, None, None, False),
        (2, 2, 2, False),
        (1, 2, 1, False),
        (2, 2, 1, False),
        (3, 2, 2, True),
        (None, 2, 2, True),
    ],
)
def test_only_what_nobody_promotes_was_moved_by_hand(
    champion: int | None, serving: int | None, promoted: int | None, by_hand: bool
) -> None:
    assert is_by_hand(champion, serving, promoted) is by_hand
