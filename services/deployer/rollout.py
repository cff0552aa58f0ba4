"""What to do about an approved version, given what serves."""

from enum import Enum


class Step(Enum):
    """What an approval leads to."""

    ROLL_OUT = "roll out"
    SAY_AGAIN = "say again"
    OVERTAKEN = "overtaken"


def next_step(serving: int | None, approved: int, instead_of: int | None = None) -> Step:
    """Newer versions win, in whatever order their approvals arrive.

    The version that serves already was rolled out by an earlier run of the same handler, which ended before it could
    say so, or is approved once more: the same fact is said again. An older one is a late arrival, unless it is
    approved `instead_of` the very version that serves: then somebody goes back on purpose.
    """
    if approved == serving:
        return Step.SAY_AGAIN
    if serving is None or approved > serving or instead_of == serving:
        return Step.ROLL_OUT
    return Step.OVERTAKEN


def may_linger(approved: int, serving: int | None, previous: int | None) -> tuple[int, ...]:
    """Versions that may still be on a node when `approved` takes over from `serving`, and must leave it.

    Everything between the oldest and the newest of the three except `serving`, which stays for the way back. Nothing
    older is left from former rollouts; between them are candidates of rollouts that were given up half way.
    """
    known = [version for version in (serving, previous) if version is not None] or [1]
    between = range(min(*known, approved), max(*known, approved) + 1)
    return tuple(version for version in between if version not in (approved, serving))


def model_name(project: str, version: int) -> str:
    """Triton's name of a version: one model each, so that loading one touches no other."""
    return f"{project}-v{version}"
