"""What the watch knows of a project, kept in the bucket `watched` as JSON. Pure: each step gives a new state."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

from contracts.envelope import Envelope
from contracts.events.base import ClassName, Shape
from contracts.events.drift import DriftDetected, DriftKind
from contracts.events.training import TrainingRequested
from contracts.project import Watch

# A drift is over after so many windows without: at its limit it would begin and end all the time.
QUIET_WINDOWS = 2
_LONGEST_WHY = 500


class Look(Shape):
    """What was seen of one kind of drift in the last window. `sentence` is that of the last drift, "" where it is over.

    `quiet` counts the windows without drift since the last one with it, while it does not count as over.
    """

    kind: DriftKind
    statistic: float
    threshold: float
    p_value: float
    p_threshold: float
    count: int
    at: datetime
    sentence: str
    drifting_since: datetime | None = None
    quiet: int = 0

    @property
    def is_drift(self) -> bool:
        """Beyond the limit, and more than chance. Of accuracy, the limit is the least."""
        beyond = self.statistic < self.threshold if self.kind == "accuracy" else self.statistic > self.threshold
        return beyond and self.p_value <= self.p_threshold

    def after(self, before: "Look | None") -> Self:
        """With what it goes on with: an episode begins with the first drift, and ends after some quiet windows."""
        since = before.drifting_since if before else None
        if self.is_drift:
            return self.model_copy(update={"drifting_since": since or self.at})
        quiet = before.quiet + 1 if before and since else 0
        if before is None or since is None or quiet >= QUIET_WINDOWS:
            return self.model_copy(update={"sentence": ""})
        return self.model_copy(update={"sentence": before.sentence, "drifting_since": since, "quiet": quiet})


class Plan(Shape):
    """What is to be said because of a look: kept before the first of it is said. Its cause as subject and headers."""

    drifts: tuple[DriftDetected, ...]
    training: TrainingRequested | None
    subject: str
    headers: dict[str, str]
    at: datetime

    @property
    def cause(self) -> Envelope:
        """The envelope of the message that completed the window."""
        return Envelope.read(self.subject, self.headers, stored_at=self.at, position=self.subject)


class Reference(Shape):
    """The first answers of a version, column by column; a sketch is None where an answer has none."""

    version: int
    sketches: tuple[str | None, ...]
    labels: tuple[ClassName, ...]
    confidence: tuple[float, ...]


class Watched(Shape):
    """Of the version that serves: how many answers its reference has (0 while it is collected), and the last looks.

    `answers_seq` and `feedback_seq` are the places in the streams up to which everything was looked at; `waiting`
    answers came since. `retrained_at` is when the watch asked for a training last, of whatever version.
    """

    version: int = 0
    reference: int = 0
    waiting: int = 0
    answers_seq: int = 0
    feedback_seq: int = 0
    looks: tuple[Look, ...] = ()
    retrained_at: datetime | None = None
    plan: Plan | None = None

    def serving(self, version: int, kinds: Collection[DriftKind]) -> Self:
        """Of this version and these kinds: another version than before begins with nothing."""
        if version == self.version:
            return self.model_copy(update={"looks": tuple(look for look in self.looks if look.kind in kinds)})
        return self.model_copy(update={"version": version, "reference": 0, "waiting": 0, "looks": ()})

    def collected(self, count: int) -> Self:
        """With a reference of so many answers."""
        return self.model_copy(update={"reference": count})

    def answers_read(self, seq: int) -> Self:
        """All answers up to this place were looked at."""
        return self.model_copy(update={"answers_seq": seq, "waiting": 0})

    def feedback_read(self, seq: int) -> Self:
        """All feedback up to this place was looked at."""
        return self.model_copy(update={"feedback_seq": seq})

    def looked(
        self,
        drifts: Mapping[DriftKind, DriftDetected],
        looks: Sequence[Look],
        policy: Watch,
        cause: Envelope,
        now: datetime,
    ) -> Self:
        """After a look: what begins to drift is planned to be said, and a training where the card wants one.

        `drifts` has the fact for every look, to be said only where a drift begins.
        """
        before = {look.kind: look for look in self.looks}
        after = {**before, **{look.kind: look.after(before.get(look.kind)) for look in looks}}
        drifting = [look for look in looks if look.is_drift]
        known = {kind for kind, look in before.items() if look.drifting_since}
        saying = tuple(drifts[look.kind] for look in drifting if look.kind not in known)
        training = self._training(drifting, policy, now)
        plan = None
        if saying or training:
            plan = Plan(drifts=saying, training=training, subject=cause.subject, headers=cause.headers(), at=now)
        return self.model_copy(
            update={
                "looks": tuple(after.values()),
                "plan": plan,
                "retrained_at": now if training else self.retrained_at,
            }
        )

    def _training(self, drifting: Sequence[Look], policy: Watch, now: datetime) -> TrainingRequested | None:
        """Not `again`: without anything new to learn from, the same model would come of it."""
        if policy.retrain == "never" or not drifting:
            return None
        if self.retrained_at and now - self.retrained_at < timedelta(hours=policy.at_most_every_h):
            return None
        why = " ".join(look.sentence for look in drifting)
        return TrainingRequested(why=why[:_LONGEST_WHY], unless_training=True)

    def said(self) -> Self:
        """After what was planned is said."""
        return self.model_copy(update={"plan": None})
