"""Labels become a dataset version."""

import asyncio
from dataclasses import asdict, dataclass
from datetime import datetime

from contracts.events.dataset import Agreement, ClassCount, DatasetRejected, DatasetVersioned, FailedCheck, LeftOut
from contracts.project import ScopeCard
from services.chassis.recipes import NotARecipe, recipe
from services.labeling_sync import datasets
from services.labeling_sync.annotators import agreement_of
from services.labeling_sync.checks import failed_checks
from services.labeling_sync.datasets import Before, LabelledImage, counts_of, dataset_id, labelled_images
from services.labeling_sync.likeness import near_duplicates
from services.labeling_sync.ports import Looked, Ports
from services.labeling_sync.sides import Sides, sides_of


@dataclass(frozen=True)
class Frozen:
    """What came of a freeze. `fact` is None where nothing is new since `parent`.

    `up_to` is the latest change of a label that was looked at; `retold` says that the labels were not looked at,
    because the next version was frozen before and perhaps never said.
    """

    fact: DatasetVersioned | DatasetRejected | None
    parent: DatasetVersioned | None = None
    up_to: datetime | None = None
    retold: bool = False


async def freeze(project: str, card: ScopeCard, owner: str, ports: Ports) -> Frozen:
    """Freeze all labels of a project into its next dataset version, unless they fail a check or nothing is new.

    The number of the version is claimed, so that two who freeze at once do not make two versions of one number.

    Raises:
        Busy: another one is freezing.
        NoSuchProject, Away: the labels cannot be read now.
    """
    said = await ports.bus.last(DatasetVersioned, project)
    parent = said[0] if said else None
    number = parent.number + 1 if parent else 1
    key = f"dataset.{project}.{number}"
    done = await ports.claims.take(key, owner)
    if done is not None:
        return Frozen(DatasetVersioned.model_validate(done["event"]), parent, retold=True)
    try:
        frozen = await _freeze(project, card, parent, ports)
        if isinstance(frozen.fact, DatasetVersioned):
            await ports.claims.finish(key, owner, {"event": frozen.fact.model_dump(mode="json")})
            return frozen
    except Exception:
        await ports.claims.release(key, owner)
        raise
    await ports.claims.release(key, owner)
    return frozen


async def _freeze(project: str, card: ScopeCard, parent: DatasetVersioned | None, ports: Ports) -> Frozen:
    tasks = await ports.labelling.labelled(project)
    up_to = max((label.updated_at for task in tasks for label in task.annotations), default=None)
    data = card.data
    images = labelled_images(tasks, card.label.conflict, data.class_of, data.group_by)
    before = await ports.manifests.read(parent.manifest.uri) if parent else Before()
    decided, disputed = datasets.parted(images)
    looked = await ports.pictures.looked_at(decided, before.hashes)
    sides = await asyncio.to_thread(_sides, decided, looked, before, card)
    rows = datasets.rows_of(decided, sides, looked.hashes)
    if parent and dataset_id(rows, data.classes, parent.parent_id) == parent.dataset_id:
        return Frozen(None, parent, up_to)
    left_out = datasets.left_out(disputed, sides)
    failed = failed_checks(
        rows,
        project,
        data.classes,
        data.min_train_per_class,
        looked.unreadable,
        every_class=_every_class(card),
        left_out=left_out,
    )
    if failed:
        checks = tuple(FailedCheck(check=one.check, sentence=one.sentence, images=one.images) for one in failed)
        return Frozen(DatasetRejected(checks=checks), parent, up_to)
    agreement = agreement_of(image.given for image in images)
    version = DatasetVersioned(
        dataset_id=dataset_id(rows, data.classes, parent.dataset_id if parent else None),
        number=parent.number + 1 if parent else 1,
        parent_id=parent.dataset_id if parent else None,
        manifest=await ports.manifests.write(rows, former=before.sides_without(rows)),
        classes=data.classes,
        counts=tuple(ClassCount(label=label, **count) for label, count in counts_of(rows, data.classes)),
        labels=len(rows),
        new_labels=datasets.new_labels(rows, {image: data.class_of(label) for image, label in before.labels.items()}),
        left_out=tuple(LeftOut.model_validate(asdict(one)) for one in left_out),
        agreement=Agreement.model_validate(asdict(agreement)) if agreement else None,
    )
    return Frozen(version, parent, up_to)


def _sides(images: list[LabelledImage], looked: Looked, before: Before, card: ScopeCard) -> Sides:
    together = card.data.near_duplicates == "together"
    hashes = {one.sha256: looked.hashes.get(one.sha256, "") for one in images if together}
    split = card.data.split
    return sides_of(images, near_duplicates(hashes), before.sides, validation=split.validation, test=split.test)


def _every_class(card: ScopeCard) -> bool:
    """Whether the card's recipe needs images of each class. Of one that is not installed here that is not known."""
    try:
        return recipe(card.model.recipe).every_class
    except NotARecipe:
        return True
