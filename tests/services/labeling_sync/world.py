"""Small stand-ins for what labeling-sync needs from outside."""

import asyncio
import hashlib
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
from services.labeling_sync.datasets import Before, LabelledImage, Row
from services.labeling_sync.labels import Annotation, GivenLabel, MadeTask, NewTask, Task
from services.labeling_sync.ports import BadPicture, Looked, NoSuchProject, Ports
from services.labeling_sync.second_look import Doubt
from services.labeling_sync.sides import Split

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
PROJECT = "solar"


def card(data: Mapping[str, Any] | None = None, **label: Any) -> ScopeCard:
    """The card of `solar`: classes good and bad, one training image of each is enough; `data` is laid over that."""
    usual = {"classes": ["good", "bad"], "min_train_per_class": 1}
    return ScopeCard.model_validate({"project": PROJECT, "data": {**usual, **(data or {})}, "label": label})


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
        self.labelled_ever = 0
        self.swept = 0
        self.overlooked: set[int] = set()
        self.told: dict[int, str] = {}

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
        self.tasks[id_] = Task(
            id_, task.sha256, task.uri, task.chosen, task.width, task.height, self._tick(), metadata=task.metadata
        )
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
        self.labelled_ever += 1
        one = Annotation(self.labelled_ever, label, skipped, by, 1.5, at)
        self.tasks[task_id] = replace(task, updated_at=at, annotations=(*task.annotations, one))

    async def annotation_count(self, project: str) -> int:
        self._must_be_there()
        return sum(not one.skipped for task in self.tasks.values() for one in task.annotations)

    async def annotations_of(self, project: str, tasks: Sequence[int]) -> set[int]:
        self._must_be_there()
        self.swept += 1
        return {one.id for id_ in tasks if id_ in self.tasks for one in self.tasks[id_].annotations} - self.overlooked

    async def has_annotation(self, annotation_id: int) -> bool:
        return any(one.id == annotation_id for task in self.tasks.values() for one in task.annotations)

    async def tasks_of(self, project: str, images: Sequence[str]) -> dict[str, Task]:
        self._must_be_there()
        return {task.sha256: task for task in self.tasks.values() if task.sha256 in images}

    async def second_looks(self, project: str) -> int:
        self._must_be_there()
        return sum(task.second_look_since is not None for task in self.tasks.values())

    async def give_back(self, project: str, task_id: int, why: str) -> bool:
        if task_id not in self.tasks:
            return False
        since = max(one.updated_at for one in self.tasks[task_id].annotations)
        self.tasks[task_id] = replace(self.tasks[task_id], second_look_since=since, updated_at=self._tick())
        self.told[task_id] = why
        return True

    async def take_off(self, task_id: int) -> None:
        if task_id not in self.tasks or self.tasks[task_id].second_look_since is None:
            return
        self.tasks[task_id] = replace(self.tasks[task_id], second_look_since=None, updated_at=self._tick())

    def skip(self, task_id: int) -> None:
        """As a person does who labelled it and would rather not have."""
        *rest, last = self.tasks[task_id].annotations
        at = self._tick()
        skipped = replace(last, skipped=True, updated_at=at)
        self.tasks[task_id] = replace(self.tasks[task_id], updated_at=at, annotations=(*rest, skipped))

    def take_away(self, task_id: int) -> None:
        """As a person does who deletes the last annotation of a task."""
        task = self.tasks[task_id]
        self.tasks[task_id] = replace(task, updated_at=self._tick(), annotations=task.annotations[:-1])

    def labels_of(self, task_id: int) -> list[str | None]:
        return [annotation.label for annotation in self.tasks[task_id].annotations]

    def _must_be_there(self) -> None:
        if self.project_id is None:
            raise NoSuchProject("deleted")

    def _tick(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


class FakePictures:
    """All pictures are fine but those in `bad`, and unlike each other but for those in `looks` (sha256 -> hash)."""

    def __init__(self) -> None:
        self.bad: set[str] = set()
        self.looks: dict[str, str] = {}
        self.hashed: list[str] = []

    async def check(self, uri: str, sha256: str) -> tuple[int, int]:
        if sha256 in self.bad:
            raise BadPicture("the image is truncated")
        return 30, 20

    async def looked_at(self, images: Sequence[LabelledImage], known: Mapping[str, str]) -> Looked:
        self.hashed = [one.sha256 for one in images if one.sha256 not in known]
        return Looked(
            {one.sha256: "the image is truncated" for one in images if one.sha256 in self.bad},
            {one.sha256: self.looks.get(one.sha256, unlike(one.sha256)) for one in images},
        )


def unlike(sha256: str) -> str:
    """A perceptual hash that is far from every other."""
    return hashlib.sha256(sha256.encode()).hexdigest()


class FakeManifests:
    """Manifests by their URI."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}
        self.former: dict[str, dict[str, Split]] = {}

    async def write(self, rows: Sequence[Row], former: Mapping[str, Split]) -> BlobRef:
        sha256 = hashlib.sha256(repr((rows, former)).encode()).hexdigest()
        uri = f"blob://{sha256}.parquet"
        self.rows[uri], self.former[uri] = list(rows), dict(former)
        return BlobRef(uri=uri, sha256=sha256, size_bytes=1)

    async def read(self, uri: str) -> Before:
        rows = self.rows[uri]
        return Before(
            labels={row.sha256: row.label for row in rows},
            hashes={row.sha256: row.perceptual_hash for row in rows},
            sides=self.former[uri] | {row.sha256: row.split for row in rows},
        )

    @property
    def last(self) -> dict[str, Row]:
        """The rows that were written last, by sha256."""
        return {row.sha256: row for row in list(self.rows.values())[-1]}


class FakeDoubts:
    """The same labels are likely wrong whatever is asked."""

    def __init__(self) -> None:
        self.found: list[Doubt] = []

    async def likely_wrong(self, blob: BlobRef) -> list[Doubt]:
        return self.found


class World:
    """All of it, and the ports that handlers and jobs are given."""

    def __init__(self, said: Iterable[Event] = ()) -> None:
        self.bus = FakeBus(*said)
        self.claims = FakeClaims()
        self.cursors = FakeCursors()
        self.labelling = FakeLabelling()
        self.pictures = FakePictures()
        self.manifests = FakeManifests()
        self.doubts = FakeDoubts()
        self.now = NOON
        self.ports = Ports(
            bus=self.bus,
            claims=self.claims,
            cursors=self.cursors,
            labelling=self.labelling,
            pictures=self.pictures,
            manifests=self.manifests,
            doubts=self.doubts,
            now=lambda: self.now,
            span=lambda name: nullcontext(),
            turns=defaultdict(asyncio.Lock),
        )

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.bus.now = self.now


def solar(data: Mapping[str, Any] | None = None, **label: Any) -> World:
    """A world in which the project `solar` was defined."""
    return World([ProjectDefined(card=card(data, **label))])
