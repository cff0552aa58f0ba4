"""What labeling-sync does about a card, an image, a wish for a dataset, and feedback."""

from contracts.envelope import derive_id
from contracts.events.base import EVENTS, Event
from contracts.events.dataset import DatasetRejected, DatasetRequested, DatasetVersioned, FailedCheck
from contracts.events.feedback import FeedbackGiven, FeedbackRejected
from contracts.events.image import ImageAdded, ImageRejected
from contracts.events.project import ProjectDefined
from contracts.project import ScopeCard
from contracts.telemetry import DATASET_FREEZE
from services.chassis.errors import Rejected
from services.chassis.heard import Heard
from services.labeling_sync.cards import card_of
from services.labeling_sync.choosing import is_drawn
from services.labeling_sync.claiming import Result, once
from services.labeling_sync.freezing import Frozen, freeze
from services.labeling_sync.labels import GivenLabel, NewTask, guess_of
from services.labeling_sync.ports import BadPicture, NoSuchProject, Ports
from services.labeling_sync.tasks import counterpart, labelled, task_for

_DELETED = "the task of this image was deleted in Label Studio, so it takes no label any more"


async def on_project_defined(event: ProjectDefined, heard: Heard, *, ports: Ports) -> list[Event]:
    """Let Label Studio ask for what the card names. An older card that comes late gives way to the newest."""
    card = await card_of(ports.bus, heard.project) or event.card
    if card.project != heard.project:
        raise Rejected(f"the card of {card.project} was said about {heard.project}: say it about {card.project}")
    await ports.labelling.fit_project(await counterpart(card, heard, ports), card)
    return []


async def on_image_added(event: ImageAdded, heard: Heard, *, ports: Ports) -> list[Event]:
    """Make the image's one task. An image that has one keeps how it was chosen; a label that is new is put on it."""
    card = await card_of(ports.bus, heard.project)
    reason = _refused(card, heard.project, event.label)
    if card is None or reason:
        return [ImageRejected(image=event.image, reason=reason)]
    label = None
    if event.label:
        id_ = derive_id("image.added", heard.project, heard.envelope.id, event.label)
        label = GivenLabel(id_, card.data.class_of(event.label), event.labelled_by)
    guess = guess_of(event.metadata, card.data.classes, card.data.class_of)
    wanted = NewTask(
        event.image.sha256, event.image.uri, event.chosen, event.image.width, event.image.height,
        event=heard.envelope.id, label=label, guess=guess, metadata=event.metadata,
    )  # fmt: skip
    try:
        task = await task_for(wanted, card, heard, ports)
    except BadPicture as error:
        return [ImageRejected(image=event.image, reason=str(error))]
    if label and not await labelled(task, label, heard, ports):
        return [ImageRejected(image=event.image, reason=_DELETED)]
    return []


async def on_feedback_given(event: FeedbackGiven, heard: Heard, *, ports: Ports) -> list[Event]:
    """Put the true class on the image's task, once for each feedback; make the task where there is none.

    Corrected images are harder than the world is and only train, except those that chance would have asked about.
    """
    card = await card_of(ports.bus, heard.project)
    reason = _refused(card, heard.project, event.correct)
    if card is None or reason:
        return [FeedbackRejected(prediction_id=event.prediction_id, reason=reason)]
    id_ = derive_id("feedback.given", heard.project, heard.envelope.id, event.correct)
    label = GivenLabel(id_, card.data.class_of(event.correct), event.given_by)
    chosen = "random" if is_drawn(event.image.sha256, card.label.query.random_share) else "corrected"
    wanted = NewTask(
        event.image.sha256, event.image.uri, chosen, event.image.width, event.image.height,
        event=heard.envelope.id, label=label, metadata={"prediction_id": event.prediction_id},
    )  # fmt: skip
    try:
        task = await task_for(wanted, card, heard, ports)
    except BadPicture as error:
        return [FeedbackRejected(prediction_id=event.prediction_id, reason=str(error))]
    if not await labelled(task, label, heard, ports):
        return [FeedbackRejected(prediction_id=event.prediction_id, reason=_DELETED)]
    return []


async def on_dataset_requested(event: DatasetRequested, heard: Heard, *, ports: Ports) -> list[Event]:
    """Freeze the labels now, whatever the card's policy says. However often it is delivered, a wish has one answer."""

    async def answer() -> Result:
        fact = await _frozen(heard, ports)
        return {"type": fact.TYPE, "fact": fact.model_dump(mode="json")}

    # An event id may come from outside and hold what a key must not.
    key = f"freeze.{heard.project}.{derive_id(heard.envelope.id)}"
    answered = await once(ports.claims, key, heard.owner, answer)
    return [EVENTS[answered["type"]].model_validate(answered["fact"])]


async def _frozen(heard: Heard, ports: Ports) -> DatasetVersioned | DatasetRejected:
    project = heard.project
    card = await card_of(ports.bus, project)
    if card is None:
        return _rejected("unknown-project", _unknown(project))
    async with ports.turns[project]:
        try:
            with ports.span(DATASET_FREEZE):
                frozen = await freeze(project, card, heard.owner, ports)
        except NoSuchProject as error:
            return _rejected("no-labels", f"nothing of {project} is labelled: {error}")
        if not frozen.retold:
            cursor, revision = await ports.cursors.labels(project)
            await ports.cursors.save_labels(project, cursor.frozen(frozen.up_to), revision)
    return frozen.fact or _nothing_new(frozen)


def _nothing_new(frozen: Frozen) -> DatasetRejected:
    version = f"dataset version {frozen.parent.number}" if frozen.parent else "the last dataset version"
    return _rejected(
        "nothing-new", f"no label is new or changed since {version}: to train on it once more, loopline train --again"
    )


def _rejected(check: str, sentence: str) -> DatasetRejected:
    return DatasetRejected(checks=(FailedCheck(check=check, sentence=sentence),))


def _refused(card: ScopeCard | None, project: str, label: str | None) -> str:
    """Why nothing can be labelled, or "" where it can."""
    if card is None:
        return _unknown(project)
    if label is not None and card.data.class_of(label) not in card.data.classes:
        known = ", ".join(card.data.classes)
        return f"the class {label!r} is not on the card of {project}: it has {known}"
    return ""


def _unknown(project: str) -> str:
    return f"there is no project {project}: define it with loopline project apply"
