"""Which predictions come back to people: some drawn by hash, and the least certain ones. Pure functions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.labeling_sync.sides import share_of


@dataclass(frozen=True)
class Answer:
    """A stored prediction, as far as the choice needs it. `seq` is its place in the stream."""

    seq: int
    sha256: str
    probabilities: tuple[float, ...]
    at: datetime

    @property
    def margin(self) -> float:
        """How far the likeliest class is ahead of the next: 0 is a coin flip, 1 is certain."""
        first, second = (*sorted(self.probabilities, reverse=True), 0.0, 0.0)[:2]
        return first - second


def is_drawn(sha256: str, share: float) -> bool:
    """Whether the image belongs to the share that is drawn at random: by its hash, whatever any model says of it."""
    return share_of("draw", sha256) < share


def window(waiting: Sequence[Answer], *, every: int, quiet_s: float, now: datetime) -> list[Answer] | None:
    """The answers to choose from now, in order of the stream; None while there are too few and more may come.

    A window has `every` different images, or fewer once no answer has come for `quiet_s` seconds.
    """
    images: set[str] = set()
    for place, answer in enumerate(waiting):
        images.add(answer.sha256)
        if len(images) == every:
            return list(waiting[: place + 1])
    if waiting and now - waiting[-1].at >= timedelta(seconds=quiet_s):
        return list(waiting)
    return None


def choose(
    answers: Sequence[Answer], *, uncertain: int, random_share: float, known: Collection[str], budget: int
) -> list[tuple[int, str]]:
    """The answers to ask people about, as (sequence, how chosen), at most `budget` of them.

    Images in `known` have been asked about before. Of several answers about one image the last one counts. The drawn
    ones come first, so that a small budget does not starve the test set.
    """
    latest = {answer.sha256: answer for answer in answers}
    fresh = [answer for sha256, answer in latest.items() if sha256 not in known]
    drawn = sorted(answer.seq for answer in fresh if is_drawn(answer.sha256, random_share))
    rest = [answer for answer in fresh if not is_drawn(answer.sha256, random_share)]
    least = sorted(rest, key=lambda one: (one.margin, one.sha256))[:uncertain]
    picks = [(seq, "random") for seq in drawn] + [(answer.seq, "uncertain") for answer in least]
    return picks[:budget]
