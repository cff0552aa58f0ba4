"""Small stand-ins for what labeling-sync needs from outside."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.envelope import Envelope, derive_id
from contracts.events.base import BlobRef, Event, ImageRef
from contracts.events.project import ProjectDefined
from contracts.project import ScopeCard
from services.chassis.errors import Busy, Retry
from services.chassis.heard import Heard
from services.labeling_sync.cursors import LabelCursor, QueryCursor
from services.labeling_sync.datasets import Row
from services.labeling_sync.labels import Annotation, GivenLabel, MadeTask, NewTask, Task
from services.labeling_sync.ports import BadPicture, NoSuchProject, Ports

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
PROJECT = "solar"


def card(**label: Any) -> ScopeCard:
    """The card of `solar`: classes good and bad, one training image of each is enough."""
    return ScopeCard.model_validate(
        {"project": PROJECT, "data": {"classes": ["good", "bad"], "min_train_per_class": 1}, "label": label}
    )


def image(number: int) -> ImageRef:
    sha256 = f"{number:064x}"[::-1]
    return ImageRef(uri=f"blob://{sha256}.png", sha256=sha256, width=30, height=20)


def heard(event: Event, seq: int = 1, *, id: str = "", project: str = PROJECT) -> Heard:
    """As it arrives from place `seq` of the stream."""
    id = id or derive_id(project, event.TYPE, event.natural_key or str(seq))
    return Heard(Envelope.first(event, project=project, source="/test", id=id, time=NOON), f"LOOP:{seq}")


class FakeBus:
    """Everything said, in order; its place in the list + 1 is the stream sequence."""

    def __init__(self, *said: Event) -> None:
        self.said: list[tuple[Event, Envelope]] = []
        self.now = NOON
        for event in said:
            self._store(event, PROJECT, None)

    def _store(self, event: Event, project: str, cause: Envelope | None) -> Envelope:
        id = derive_id(cause.id if cause else project, event.TYPE, event.natural_key or str(len(self.said)))
        envelope = Envelope.first(event, project=project, source="/test", id=id, time=self.now)
        self.said.append((event, envelope))
        return envelope

    async def say(self, event: Event, *, project: str, cause: Envelope | None = None) -> Envelope:
        return self._store(event, project, cause)

    async def last(self, event_type: type[Any], project: str) -> tuple[Any, Envelope] | None:
        return next((one for one in reversed(self.said) if isinstance(one[0], event_type)), None)

    async def read(
        self, event_type: type[Any], project: str = "*", *, from_seq: int = 1
    ) -> AsyncIterator[tuple[Any, Envelope, int]]:
        for place, (event, envelope) in enumerate(list(self.said), 1):
            if place >= from_seq and isinstance(event, event_type):
                yield event, envelope, place

    def of(self, event_type: type[Any]) -> list[Any]:
        return [event for event, _ in self.said if isinstance(event, event_type)]


class FakeClaims:
    """The rules of the chassis' claims, in a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, dict[str, Any] | None]] = {}

    async def take(self, key: str, owner: str) -> dict[str, Any] | None:
        holder, result = self.kept.setdefault(key, (owner, None))
        if result is None and holder != owner:
            raise Busy(key)
        return result

    async def finish(self, key: str, owner: str, result: dict[str, Any]) -> None:
        self.kept[key] = (owner, result)

    async def release(self, key: str, owner: str) -> None:
        if self.kept.get(key) == (owner, None):
            del self.kept[key]


class FakeCursors:
    """Two values a project, with revisions."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Any, int]] = {}

    async def labels(self, project: str) -> tuple[LabelCursor, int]:
        return self.kept.get("labels", (LabelCursor(), 0))

    async def save_labels(self, project: str, cursor: LabelCursor, revision: int) -> int:
        return self._save("labels", cursor, revision)

    async def query(self, project: str) -> tuple[QueryCursor, int]:
        return self.kept.get("query", (QueryCursor(), 0))

    async def save_query(self, project: str, cursor: QueryCursor, revision: int) -> int:
        return self._save("query", cursor, revision)

    def _save(self, key: str, cursor: Any, revision: int) -> int:
        if self.kept.get(key, (None, 0))[1] != revision:
            raise Retry("moved")
        self.kept[key] = (cursor, revision + 1)
        return revision + 1


class FakeLabelling:
    """One project of a labelling tool. Time passes by a second with everything that is done in it."""

    def __init__(self) -> None:
        self.project_id: int | None = None
        self.projects_made = 0
        self.classes: tuple[str, ...] = ()
        self.tasks: dict[int, Task] = {}
        self.new: dict[int, NewTask] = {}
        self.given: dict[str, int] = {}
        self.time = NOON

    async def find_project(self, project: str) -> int | None:
        return self.project_id

    async def create_project(self, card: ScopeCard) -> int:
        if self.project_id is None:
            self.projects_made += 1
            self.project_id = self.projects_made
        return self.project_id

    async def fit_project(self, project_id: int, card: ScopeCard) -> None:
        self._must_be_there()
        self.classes = card.data.classes

    async def make_task(self, project: str, task: NewTask) -> MadeTask:
        self._must_be_there()
        id_ = len(self.tasks) + 1
        self.new[id_] = task
        self.tasks[id_] = Task(id_, task.sha256, task.uri, task.chosen, task.width, task.height, self._tick())
        if task.label:
            self.label(id_, task.label.label, by=task.label.by)
        return MadeTask(id_, task.event, task.label.id if task.label else "")

    async def find_tasks(self, project: str, images: Sequence[str]) -> dict[str, MadeTask]:
        self._must_be_there()
        return {t.sha256: MadeTask(t.id, self.new[t.id].event) for t in self.tasks.values() if t.sha256 in images}

    async def add_label(self, task_id: int, label: GivenLabel) -> bool:
        if task_id not in self.tasks:
            return False
        if label.id not in self.given:
            self.label(task_id, label.label, by=label.by)
            self.given[label.id] = task_id
        return True

    async def changed(self, project: str, since: datetime | None) -> AsyncIterator[list[Task]]:
        self._must_be_there()
        found = [task for task in self.tasks.values() if task.annotations and (not since or task.updated_at > since)]
        for task in sorted(found, key=lambda one: one.updated_at):
            yield [task]

    async def labelled(self, project: str) -> list[Task]:
        self._must_be_there()
        return [task for task in self.tasks.values() if task.annotations]

    def label(self, task_id: int, label: str, *, by: str = "ada", skipped: bool = False) -> None:
        """As a person does in the browser."""
        at = self._tick()
        task = self.tasks[task_id]
        id_ = sum(len(one.annotations) for one in self.tasks.values()) + 1
        one = Annotation(id_, label, skipped, by, 1.5, at)
        self.tasks[task_id] = replace(task, updated_at=at, annotations=(*task.annotations, one))

    def labels_of(self, task_id: int) -> list[str | None]:
        return [annotation.label for annotation in self.tasks[task_id].annotations]

    def _must_be_there(self) -> None:
        if self.project_id is None:
            raise NoSuchProject("deleted")

    def _tick(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


class FakePictures:
    """All pictures are fine but those in `bad`."""

    def __init__(self) -> None:
        self.bad: set[str] = set()

    async def check(self, uri: str, sha256: str) -> tuple[int, int]:
        if sha256 in self.bad:
            raise BadPicture("the image is truncated")
        return 30, 20

    async def unreadable(self, rows: Sequence[Row], checked: Mapping[str, Any]) -> dict[str, str]:
        return {row.sha256: "the image is truncated" for row in rows if row.sha256 in self.bad}


class FakeManifests:
    """Manifests by their URI."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}

    async def write(self, rows: Sequence[Row]) -> BlobRef:
        sha256 = f"{len(self.rows):064x}"
        self.rows[f"blob://{sha256}.parquet"] = list(rows)
        return BlobRef(uri=f"blob://{sha256}.parquet", sha256=sha256, size_bytes=1)

    async def labels(self, uri: str) -> dict[str, str]:
        return {row.sha256: row.label for row in self.rows[uri]}


class World:
    """All of it, and the ports that handlers and jobs are given."""

    def __init__(self, said: Iterable[Event] = ()) -> None:
        self.bus = FakeBus(*said)
        self.claims = FakeClaims()
        self.cursors = FakeCursors()
        self.labelling = FakeLabelling()
        self.pictures = FakePictures()
        self.manifests = FakeManifests()
        self.now = NOON
        self.ports = Ports(
            bus=self.bus,
            claims=self.claims,
            cursors=self.cursors,
            labelling=self.labelling,
            pictures=self.pictures,
            manifests=self.manifests,
            now=lambda: self.now,
            span=lambda name: nullcontext(),
            turns=defaultdict(asyncio.Lock),
        )

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.bus.now = self.now


def solar(**label: Any) -> World:
    """A world in which the project `solar` was defined."""
    return World([ProjectDefined(card=card(**label))])
