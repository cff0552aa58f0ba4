"""Where the aliases go, which version is put back, and when one may serve."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True)
class Aliases:
    """The versions that carry `champion` and `previous`; None where none does."""

    champion: int | None = None
    previous: int | None = None


def after_deployment(
    now: Aliases,
    version: int,
    replaces: int | None,
    served: Sequence[int] = (),
    withdrawn: AbstractSet[int] = frozenset(),
) -> Aliases:
    """The aliases once `version` serves in place of `replaces` (None: the deployer knew of none).

    `served` are all that ever served, the newest last; `withdrawn` are those that a person took back, which are no way
    back. A version that takes its own place, as after a redelivery, changes nothing; `previous` is never the champion.
    """
    ways_back = (replaces, now.champion, now.previous, *reversed(served))
    others = (held for held in ways_back if held is not None and held != version and held not in withdrawn)
    return Aliases(champion=version, previous=next(others, None))


def to_put_back(served: Sequence[int], demoted: int, withdrawn: AbstractSet[int]) -> int | None:
    """Which version serves again when one is demoted: the last that served before it and was not taken back."""
    before = (version for version in reversed(served) if version != demoted and version not in withdrawn)
    return next(before, None)


def withdrawn_by(words: Iterable[tuple[int, int, bool]]) -> frozenset[int]:
    """The versions of which people's last word is no, from all their words: (place in the stream, version, yes)."""
    last = {version: yes for _, version, yes in sorted(words)}
    return frozenset(version for version, yes in last.items() if not yes)


def is_outdated(dataset_number: int, newest_approved: int | None) -> bool:
    """Whether a candidate is refused because a version from a newer dataset was approved already: the newest wins."""
    return newest_approved is not None and dataset_number < newest_approved


def gates_sentence(gates: int) -> str:
    """Why the gates approved, for a person."""
    if gates == 0:
        return "the card has no gates"
    return "the only gate passed" if gates == 1 else f"all {gates} gates passed"


def is_by_hand(champion: int | None, serving: int | None, promoted: int | None) -> bool:
    """Whether somebody else moved the alias `champion`: it is neither on what serves nor still on what served.

    While a promotion is under way it may be on either.
    """
    return champion not in (serving, promoted)
