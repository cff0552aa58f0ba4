"""What the service needs from outside, named by need."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from contracts.envelope import Envelope
from contracts.events.base import BlobRef, Event
from contracts.project import ScopeCard
from services.chassis.errors import Retry
from services.labeling_sync.cursors import LabelCursor, QueryCursor
from services.labeling_sync.datasets import Before, LabelledImage, Row
from services.labeling_sync.labels import GivenLabel, MadeTask, NewTask, Task
from services.labeling_sync.second_look import Doubt
from services.labeling_sync.sides import Split

E = TypeVar("E", bound=Event)


class NoSuchProject(Retry):
    """The labelling tool has no project of that name: it is not made yet, or somebody deleted it."""


class BadPicture(Exception):
    """An image is missing from the blob store or is no picture; the text is a sentence for who sent it."""


@dataclass(frozen=True)
class Looked:
    """By sha256: why a picture cannot be read, and the perceptual hashes (64 hex digits) of those that can."""

    unreadable: Mapping[str, str]
    hashes: Mapping[str, str]


class Labelling(Protocol):
    """Where people label. `project` is the name on the bus; every method raises `Away` while it cannot be used."""

    async def find_project(self, project: str) -> int | None:
        """The id of the project's counterpart, or None; may be remembered until a call finds it gone."""
        ...

    async def create_project(self, card: ScopeCard) -> int:
        """Make the one counterpart where there is none; the caller holds its claim. Returns its id."""
        ...

    async def fit_project(self, project_id: int, card: ScopeCard) -> None:
        """Let the counterpart ask for the card's classes and show pictures, where it does not yet.

        Raises NoSuchProject.
        """
        ...

    async def make_task(self, project: str, task: NewTask) -> MadeTask:
        """The image's task: made with its label and guess, or found if it is there. Raises NoSuchProject."""
        ...

    async def find_tasks(self, project: str, images: Sequence[str]) -> dict[str, MadeTask]:
        """The tasks of those images (sha256) that have one. Raises NoSuchProject."""
        ...

    async def add_label(self, task_id: int, label: GivenLabel) -> bool:
        """Put a label on a task, once for each `label.id`. False when the task is gone."""
        ...

    def changed(self, project: str, since: datetime | None) -> AsyncIterator[list[Task]]:
        """Tasks with annotations that changed after `since`, oldest change first, in portions. Raises NoSuchProject."""
        ...

    async def labelled(self, project: str) -> list[Task]:
        """Every task that has annotations. Raises NoSuchProject."""
        ...

    async def annotation_count(self, project: str) -> int:
        """How many annotations there are beside skipped ones. Raises NoSuchProject."""
        ...

    async def annotations_of(self, project: str, tasks: Sequence[int]) -> set[int]:
        """The ids of annotations of these tasks, perhaps not all, perhaps of others as well. Raises NoSuchProject."""
        ...

    async def has_annotation(self, annotation_id: int) -> bool:
        """Whether an annotation is there, whatever it says."""
        ...

    async def tasks_of(self, project: str, images: Sequence[str]) -> dict[str, Task]:
        """The tasks of those images (sha256) that have one, with their annotations. Raises NoSuchProject."""
        ...

    async def second_looks(self, project: str) -> int:
        """How many tasks were given back to people and wait for them. Raises NoSuchProject."""
        ...

    async def give_back(self, project: str, task_id: int, why: str) -> bool:
        """Show a labelled task to people once more, with a sentence. False when it is gone. Raises NoSuchProject."""
        ...

    async def take_off(self, task_id: int) -> None:
        """A task was looked at: it waits no longer. One that is gone or does not wait stays as it is."""
        ...


class Pictures(Protocol):
    """The images behind the blob URIs."""

    async def check(self, uri: str, sha256: str) -> tuple[int, int]:
        """Width and height of a whole, readable picture. Raises BadPicture."""
        ...

    async def looked_at(self, images: Sequence[LabelledImage], known: Mapping[str, str]) -> Looked:
        """All pictures, of which those with a `known` perceptual hash (by sha256) must only be there."""
        ...


class Manifests(Protocol):
    """Where dataset versions are kept."""

    async def write(self, rows: Sequence[Row], former: Mapping[str, Split]) -> BlobRef:
        """Store rows, and the sides of images that were in an earlier version; the same give the same bytes."""
        ...

    async def read(self, uri: str) -> Before:
        """What a stored manifest tells the next version."""
        ...


class Doubts(Protocol):
    """What models that did not train on an image say of its label."""

    async def likely_wrong(self, blob: BlobRef) -> list[Doubt]:
        """The labels in such a file that are likely wrong, worst first. Raises Rejected where it is none."""
        ...


class Bus(Protocol):
    """What is said and was said; see the chassis."""

    async def say(self, event: Event, *, project: str, cause: Envelope | None = None) -> Envelope:
        """Say a fact."""
        ...

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None:
        """The last event of a type about a project."""
        ...

    def read(
        self, event_type: type[E], project: str = "*", *, from_seq: int = 1
    ) -> AsyncIterator[tuple[E, Envelope, int]]:
        """All stored events of a type up to now, from a stream sequence on, with their sequences."""
        ...


class Cursors(Protocol):
    """How far has been read. A revision tells whether a cursor was moved by another since; 0 before the first."""

    async def labels(self, project: str) -> tuple[LabelCursor, int]:
        """The cursor of the project's labels, with its revision."""
        ...

    async def save_labels(self, project: str, cursor: LabelCursor, revision: int) -> int:
        """Replace the cursor of that revision; returns the next one. Raises Retry when it was moved by another."""
        ...

    async def query(self, project: str) -> tuple[QueryCursor, int]:
        """The cursor of the project's predictions, with its revision."""
        ...

    async def save_query(self, project: str, cursor: QueryCursor, revision: int) -> int:
        """As `save_labels`."""
        ...


class Claims(Protocol):
    """Who does a piece of work, then its result; see the chassis."""

    async def take(self, key: str, owner: str) -> dict[str, Any] | None:
        """None: it is yours to do. Otherwise its result. Raises Busy."""
        ...

    async def finish(self, key: str, owner: str, result: dict[str, Any]) -> None:
        """Keep the result."""
        ...

    async def release(self, key: str, owner: str) -> None:
        """Give it back undone."""
        ...


Span = Callable[[str], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Ports:
    """Everything that handlers and jobs need. `turns` has a lock a project: reading labels and freezing take turns."""

    bus: Bus
    claims: Claims
    cursors: Cursors
    labelling: Labelling
    pictures: Pictures
    manifests: Manifests
    doubts: Doubts
    now: Callable[[], datetime]
    span: Span
    turns: Mapping[str, asyncio.Lock]
