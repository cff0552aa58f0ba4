"""Where the aliases go, and when a version may serve."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Aliases:
    """The versions that carry `champion` and `previous`; None where none does."""

    champion: int | None = None
    previous: int | None = None


def after_deployment(now: Aliases, version: int, replaces: int | None) -> Aliases:
    """The aliases once `version` serves in place of `replaces` (None: the deployer knew of none).

    A version that takes its own place, as after a redelivery, changes nothing; `previous` is never the champion.
    """
    others = (held for held in (replaces, now.champion, now.previous) if held is not None and held != version)
    return Aliases(champion=version, previous=next(others, None))


def is_outdated(dataset_number: int, newest_approved: int | None) -> bool:
    """Whether a candidate is refused because a version from a newer dataset was approved already: the newest wins."""
    return newest_approved is not None and dataset_number < newest_approved


def gates_sentence(gates: int) -> str:
    """Why the gates approved, for a person."""
    if gates == 0:
        return "the card has no gates"
    return "the only gate passed" if gates == 1 else f"all {gates} gates passed"
