"""How far labels and predictions have been read. Pure: each step gives a new cursor."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Self

from services.labeling_sync.labels import Annotation, Task

# Changes may become visible in another order than their times: what is this young is read again. On SQLite a writer has
# its time before it waits for the others, 5 s at most (sqlite3's default `timeout`).
OVERLAP = timedelta(seconds=6)
# Between an annotation and the touch of its task that makes it visible; what is older was read before.
LATE = timedelta(seconds=60)


@dataclass(frozen=True)
class LabelCursor:
    """How far the labels of a project have been read. Times of Label Studio's clock except the two noted.

    `position` is the latest change of a task that was read, `recent` the (annotation, change) read within the overlap,
    `pending` the images (first 12 hex digits) with labels given or withdrawn since the last freeze, `frozen_up_to` the
    latest change in it. `moved_at` and `last_label_at` are when this service saw the position move, and saw the last
    label or that one is gone.
    """

    position: datetime | None = None
    recent: frozenset[tuple[int, datetime]] = frozenset()
    pending: tuple[str, ...] = ()
    frozen_up_to: datetime | None = None
    moved_at: datetime | None = None
    last_label_at: datetime | None = None

    def since(self, now: datetime) -> datetime | None:
        """Changes after this are to be read; None for all. Once it is quiet, nothing needs to be read again."""
        if self.position is None or (self.moved_at is not None and now - self.moved_at > OVERLAP):
            return self.position
        return self.position - OVERLAP

    def news(self, tasks: Iterable[Task]) -> list[tuple[Task, Annotation]]:
        """Of the tasks that changed, the labels that were not read before, in the order in which they were given."""
        known_before = self.position - LATE if self.position else None
        found = [
            (task, annotation)
            for task in tasks
            if task.is_ours
            for annotation in task.annotations
            if annotation.counts
            and (known_before is None or annotation.updated_at > known_before)
            and (annotation.id, annotation.updated_at) not in self.recent
        ]
        return sorted(found, key=lambda one: (one[1].updated_at, one[1].id))

    def advanced(self, tasks: Sequence[Task], news: Sequence[tuple[Task, Annotation]], now: datetime) -> Self:
        """After `tasks` were read and `news` said."""
        newest = max((task.updated_at for task in tasks), default=self.position)
        if newest is None or (newest == self.position and not news):
            return self
        position = max(newest, self.position) if self.position else newest
        unfrozen = [task.sha256[:12] for task, label in news if self._is_unfrozen(label)]
        return replace(
            self,
            position=position,
            recent=frozenset(
                (annotation.id, annotation.updated_at)
                for task in tasks
                if task.updated_at > position - OVERLAP
                for annotation in task.annotations
            )
            | {one for one in self.recent if one[1] > position - OVERLAP},
            pending=tuple(dict.fromkeys([*self.pending, *unfrozen])),
            moved_at=now,
            last_label_at=now if unfrozen else self.last_label_at,
        )

    def withdrawn(self, images: Iterable[str], now: datetime) -> Self:
        """After labels of these images (sha256) were found gone: that is as much a change as a new label is."""
        pending = dict.fromkeys([*self.pending, *(sha256[:12] for sha256 in images)])
        return replace(self, pending=tuple(pending), last_label_at=now)

    def is_due(self, new_labels: int, quiet_s: float, now: datetime) -> bool:
        """Whether the labels are to be frozen: enough new ones, or quiet after at least one."""
        if not self.pending or self.last_label_at is None:
            return False
        return len(self.pending) >= new_labels or now - self.last_label_at >= timedelta(seconds=quiet_s)

    def frozen(self, up_to: datetime | None) -> Self:
        """After a freeze of everything up to this change, whatever came of it."""
        return replace(self, pending=(), frozen_up_to=up_to or self.frozen_up_to)

    def _is_unfrozen(self, label: Annotation) -> bool:
        return self.frozen_up_to is None or label.updated_at > self.frozen_up_to

    def to_json(self) -> dict[str, Any]:
        """As a value in KV; `pending_count` is for people."""
        return {
            "position": _text(self.position),
            "recent": [[id_, _text(at)] for id_, at in sorted(self.recent)],
            "pending": list(self.pending),
            "pending_count": len(self.pending),
            "frozen_up_to": _text(self.frozen_up_to),
            "moved_at": _text(self.moved_at),
            "last_label_at": _text(self.last_label_at),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """From a value in KV."""
        return cls(
            position=_time(value["position"]),
            recent=frozenset((int(id_), datetime.fromisoformat(at)) for id_, at in value["recent"]),
            pending=tuple(value["pending"]),
            frozen_up_to=_time(value["frozen_up_to"]),
            moved_at=_time(value["moved_at"]),
            last_label_at=_time(value["last_label_at"]),
        )


@dataclass(frozen=True)
class QueryCursor:
    """How far the predictions of a project have been looked at, and how many became tasks today (UTC).

    `planned` (stream sequence -> how chosen) is what was chosen from the window that ends at `planned_to`: written
    before the first of it is said, so that after a crash the same ones are said and no others.
    """

    seq: int = 0
    day: date | None = None
    asked: int = 0
    planned: tuple[tuple[int, str], ...] = ()
    planned_to: int = 0

    def budget(self, per_day: int, today: date) -> int:
        """How many more may be asked about today."""
        return max(0, per_day - (self.asked if self.day == today else 0))

    def plan(self, picks: Sequence[tuple[int, str]], to: int, today: date) -> Self:
        """With a choice made from the window that ends at the sequence `to`."""
        asked = (self.asked if self.day == today else 0) + len(picks)
        return replace(self, day=today, asked=asked, planned=tuple(picks), planned_to=to)

    def done(self) -> Self:
        """After what was planned is said."""
        return replace(self, seq=self.planned_to, planned=(), planned_to=0)

    def to_json(self) -> dict[str, Any]:
        """As a value in KV."""
        return {
            "seq": self.seq,
            "day": self.day.isoformat() if self.day else None,
            "asked": self.asked,
            "planned": [list(pick) for pick in self.planned],
            "planned_to": self.planned_to,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """From a value in KV."""
        return cls(
            seq=int(value["seq"]),
            day=date.fromisoformat(value["day"]) if value["day"] else None,
            asked=int(value["asked"]),
            planned=tuple((int(seq), str(chosen)) for seq, chosen in value["planned"]),
            planned_to=int(value["planned_to"]),
        )


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
