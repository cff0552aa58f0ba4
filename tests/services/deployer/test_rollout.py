import pytest

from services.deployer.rollout import Step, may_linger, next_step


@pytest.mark.parametrize(
    ("serving", "approved", "step"),
    [(None, 1, Step.ROLL_OUT), (3, 4, Step.ROLL_OUT), (4, 4, Step.SAY_AGAIN), (4, 3, Step.OVERTAKEN)],
)
def test_newer_versions_win(serving: int | None, approved: int, step: Step) -> None:
    assert next_step(serving, approved) is step


@pytest.mark.parametrize(
    ("serving", "approved", "instead_of", "step"),
    [
        pytest.param(4, 3, 4, Step.ROLL_OUT, id="back on purpose"),
        pytest.param(3, 3, 4, Step.SAY_AGAIN, id="done already"),
        pytest.param(5, 3, 4, Step.OVERTAKEN, id="a newer one came meanwhile"),
        pytest.param(None, 3, 4, Step.ROLL_OUT, id="nothing serves"),
    ],
)
def test_an_older_version_replaces_the_one_that_it_was_approved_instead_of(
    serving: int | None, approved: int, instead_of: int, step: Step
) -> None:
    assert next_step(serving, approved, instead_of) is step


@pytest.mark.parametrize(
    ("approved", "serving", "previous", "expected"),
    [
        (1, None, None, ()),
        (3, None, None, (1, 2)),
        (2, 1, None, ()),
        (3, 2, 1, (1,)),
        # 3 and 4 were given up half way, on some node or none.
        (5, 2, 1, (1, 3, 4)),
        # Back: to the one that is still there, or further.
        (1, 2, 1, ()),
        (1, 3, 2, (2,)),
        (4, 2, 3, (3,)),
    ],
)
def test_all_but_the_way_back_must_leave(
    approved: int, serving: int | None, previous: int | None, expected: tuple[int, ...]
) -> None:
    assert may_linger(approved, serving, previous) == expected
