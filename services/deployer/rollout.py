"""What to do about an approved version, given what serves."""

from enum import Enum


class Step(Enum):
    """What an approval leads to."""

    ROLL_OUT = "roll out"
    SAY_AGAIN = "say again"
    OVERTAKEN = "overtaken"


def next_step(serving: int | None, approved: int) -> Step:
    """Newer versions win, in whatever order their approvals arrive.

    The version that serves already was rolled out by an earlier run of the same handler, which ended before it could
    say so, or is approved once more: the same fact is said again. An older one is a late arrival; going back on
    purpose is a rollback and not an approval.
    """
    if serving is None or approved > serving:
        return Step.ROLL_OUT
    return Step.SAY_AGAIN if approved == serving else Step.OVERTAKEN


def may_linger(approved: int, serving: int | None, previous: int | None) -> tuple[int, ...]:
    """Versions that may still be on a node when `approved` takes over from `serving`, and must leave it.

    Everything older than `approved` except `serving`, which stays for the way back. Nothing older than `previous` is
    left from former rollouts; between the two are candidates of rollouts that were given up half way.
    """
    first = previous or serving or 1
    return tuple(version for version in range(first, approved) if version != serving)


def model_name(project: str, version: int) -> str:
    """Triton's name of a version: one model each, so that loading one touches no other."""
    return f"{project}-v{version}"
