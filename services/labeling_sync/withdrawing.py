"""Labels that counted and are gone: deleted ones, of which nothing tells, and those that say no class any more."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, cast

from contracts.envelope import Envelope
from contracts.events.label import LabelSubmitted, LabelWithdrawn
from services.labeling_sync.cards import Cards
from services.labeling_sync.cursors import LabelCursor
from services.labeling_sync.labels import Task
from services.labeling_sync.ports import Bus, NoSuchProject, Ports

_TASKS_AT_ONCE = 500
_MOST_AT_ONCE = 500

Why = Literal["deleted", "skipped"]
Submitted = AsyncGenerator[tuple[LabelSubmitted, Envelope, int], None]


@dataclass
class _OfProject:
    """annotation -> (task, place of `label.submitted` in the stream); and how far the stream was read."""

    labels: dict[int, tuple[int, int]] = field(default_factory=dict)
    submitted_to: int = 0
    withdrawn_to: int = 0


class SaidLabels:
    """The labels that were said and not withdrawn, read from the stream: once, and then what came since.

    Three numbers a label are kept in memory, 250 bytes; what it said is read again where it is wanted.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._of: dict[str, _OfProject] = {}

    async def of(self, project: str) -> Mapping[int, tuple[int, int]]:
        """annotation -> (task, stream sequence)."""
        known = self._of.setdefault(project, _OfProject())
        async for event, _, seq in self._bus.read(LabelSubmitted, project, from_seq=known.submitted_to + 1):
            known.labels[event.annotation_id] = (event.task_id, seq)
            known.submitted_to = seq
        async for gone, _, seq in self._bus.read(LabelWithdrawn, project, from_seq=known.withdrawn_to + 1):
            if known.labels.get(gone.annotation_id, (0, seq))[1] < seq:
                del known.labels[gone.annotation_id]
            known.withdrawn_to = seq
        return known.labels

    async def event(self, project: str, annotation_id: int) -> LabelSubmitted:
        """What was said of an annotation that is `of` the project."""
        _, place = self._of[project].labels[annotation_id]
        stored = cast(Submitted, self._bus.read(LabelSubmitted, project, from_seq=place))
        async with aclosing(stored) as found:
            async for event, _, _ in found:
                return event
        raise AssertionError("unreachable")


async def withdraw(
    annotations: Iterable[int],
    why: Why,
    project: str,
    cursor: LabelCursor,
    revision: int,
    said: SaidLabels,
    ports: Ports,
) -> tuple[LabelCursor, int]:
    """Say that labels are gone, and let their images wait for the next dataset version. Returns the cursor then.

    What waits is kept first: after a crash in between the labels are missed again, since nothing was said of it.
    """
    events = [await said.event(project, id_) for id_ in annotations]
    if not events:
        return cursor, revision
    cursor = cursor.withdrawn([event.image_sha256 for event in events], ports.now())
    revision = await ports.cursors.save_labels(project, cursor, revision)
    for event in events:
        gone = LabelWithdrawn(
            image_sha256=event.image_sha256,
            label=event.label,
            why=why,
            task_id=event.task_id,
            annotation_id=event.annotation_id,
            annotator=event.annotator,
            labelled_at=event.labelled_at,
        )
        await ports.bus.say(gone, project=project)
    return cursor, revision


async def silenced(tasks: Iterable[Task], project: str, said: SaidLabels) -> list[int]:
    """Of the annotations of these tasks those that counted when they were said, and do not count now."""
    idle = [one.id for task in tasks for one in task.annotations if not one.counts]
    known = await said.of(project) if idle else {}
    return [id_ for id_ in idle if id_ in known]


class Sweep:
    """Looks for deleted labels: compares counts, and only where those tell of a change all ids."""

    def __init__(self, cards: Cards, said: SaidLabels, ports: Ports) -> None:
        self._cards = cards
        self._said = said
        self._ports = ports
        # Of each project how many annotations were there beside those that were said, when it was last swept.
        self._beside: dict[str, int] = {}
        # And the last one that was asked for by its id, where there were too many for one look.
        self._asked_to: dict[str, int] = {}

    async def look(self) -> None:
        """Look once at every project."""
        for project in sorted(await self._cards.all()):
            async with self._ports.turns[project]:
                try:
                    await self._look(project)
                except NoSuchProject:
                    continue  # the reading of labels tells of it

    async def _look(self, project: str) -> None:
        labelling = self._ports.labelling
        known = await self._said.of(project)
        if not known:
            return
        beside = await labelling.annotation_count(project) - len(known)
        if beside == self._beside.get(project):
            return
        asked_to = self._asked_to.pop(project, 0)
        missing = [id_ for id_ in await self._missing(project, known) if id_ > asked_to]
        # Asked for one by one: a list that is read while others write may lack some that are there.
        gone = [id_ for id_ in missing[:_MOST_AT_ONCE] if not await labelling.has_annotation(id_)]
        for id_ in gone:
            await labelling.take_off(known[id_][0])  # who deletes a doubted label has looked
        cursor, revision = await self._ports.cursors.labels(project)
        await withdraw(gone, "deleted", project, cursor, revision, self._said, self._ports)
        if len(missing) > _MOST_AT_ONCE:
            self._asked_to[project] = missing[_MOST_AT_ONCE - 1]
        else:
            self._beside[project] = beside + len(gone)

    async def _missing(self, project: str, known: Mapping[int, tuple[int, int]]) -> list[int]:
        tasks: Sequence[int] = sorted({task for task, _ in known.values()})
        there: set[int] = set()
        for start in range(0, len(tasks), _TASKS_AT_ONCE):
            there |= await self._ports.labelling.annotations_of(project, tasks[start : start + _TASKS_AT_ONCE])
        return sorted(set(known) - there)
