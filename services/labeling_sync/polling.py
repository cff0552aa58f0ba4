"""The job that reads labels from the labelling tool: says each, and freezes them when the card's policy says so."""

import logging

from pydantic import ValidationError

from contracts.events.label import LabelSubmitted
from contracts.project import ScopeCard
from contracts.telemetry import DATASET_FREEZE
from services.chassis.errors import Busy, Retry
from services.labeling_sync.cards import Cards
from services.labeling_sync.cursors import LabelCursor
from services.labeling_sync.freezing import freeze
from services.labeling_sync.labels import Annotation, Task
from services.labeling_sync.ports import NoSuchProject, Ports
from services.labeling_sync.second_look import has_been_looked_at
from services.labeling_sync.withdrawing import SaidLabels, silenced, withdraw

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 5_000
_OWNER = "policy"  # of claims: one replica at a time runs the job, and after a crash the next goes on


async def poll_labels(cards: Cards, said: SaidLabels, ports: Ports) -> None:
    """Look once at every project.

    Raises:
        Retry: the labelling tool is away, or somebody deleted a project there.
    """
    deleted = []
    for project, card in sorted((await cards.all()).items()):
        async with ports.turns[project]:
            cursor, revision = await ports.cursors.labels(project)
            try:
                await _poll(project, card, cursor, revision, said, ports)
            except NoSuchProject as error:
                if cursor.position:  # otherwise it is not made yet
                    deleted.append(f"{error}: it is made anew with the next image or card of {project}")
    if deleted:
        raise Retry("; ".join(deleted))


async def _poll(
    project: str, card: ScopeCard, cursor: LabelCursor, revision: int, said: SaidLabels, ports: Ports
) -> None:
    now = ports.now()
    tasks: list[Task] = []
    async for some in ports.labelling.changed(project, cursor.since(now)):
        tasks += some
        if len(tasks) >= _MOST_AT_ONCE:
            break
    for task in tasks:
        if has_been_looked_at(task):
            await ports.labelling.take_off(task.id)
    gone = await silenced(tasks, project, said)
    cursor, revision = await withdraw(gone, "skipped", project, cursor, revision, said, ports)
    news = cursor.news(tasks)
    for task, annotation in news:
        await _say(task, annotation, project, card, ports)
    moved = cursor.advanced(tasks, news, now)
    if moved != cursor:
        revision = await ports.cursors.save_labels(project, moved, revision)
    policy = card.label.freeze
    # While more labels are waiting than are read at once, they are read first.
    if len(tasks) < _MOST_AT_ONCE and moved.is_due(policy.new_labels, policy.quiet_s, now):
        await _freeze(project, card, moved, revision, ports)


async def _say(task: Task, annotation: Annotation, project: str, card: ScopeCard, ports: Ports) -> None:
    try:
        event = LabelSubmitted(
            image_sha256=task.sha256,
            label=card.data.class_of(annotation.label or ""),
            chosen=task.chosen,
            task_id=task.id,
            annotation_id=annotation.id,
            annotator=annotation.annotator,
            lead_time_s=annotation.lead_time_s,
            labelled_at=annotation.updated_at,
        )
    except ValidationError as error:
        # Somebody changed the choices by hand. The next freeze refuses the label and names the image.
        log.warning("annotation %d of %s is no label: %s", annotation.id, project, error)
        return
    await ports.bus.say(event, project=project)


async def _freeze(project: str, card: ScopeCard, cursor: LabelCursor, revision: int, ports: Ports) -> None:
    """Freeze by policy. Whatever comes of it, the policy waits for new labels then: it does not refuse every second."""
    with ports.span(DATASET_FREEZE):
        try:
            frozen = await freeze(project, card, _OWNER, ports)
        except Busy as error:
            log.info("not frozen by policy: %s", error)
            return
        if frozen.fact:
            await ports.bus.say(frozen.fact, project=project)
    if not frozen.retold:
        await ports.cursors.save_labels(project, cursor.frozen(frozen.up_to), revision)
