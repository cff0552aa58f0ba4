"""Labels become a dataset version."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.events.dataset import ClassCount, DatasetRejected, DatasetVersioned, FailedCheck
from contracts.project import ScopeCard
from services.labeling_sync.datasets import Row, counts_of, dataset_id, failed_checks, new_labels, rows_of
from services.labeling_sync.ports import Ports


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
    split = card.data.split
    rows = rows_of(tasks, validation=split.validation, test=split.test)
    if parent and dataset_id(rows, card.data.classes, parent.parent_id) == parent.dataset_id:
        return Frozen(None, parent, up_to)
    before = await ports.manifests.labels(parent.manifest.uri) if parent else {}
    unreadable = await ports.pictures.unreadable(rows, before)
    failed = failed_checks(rows, project, card.data.classes, card.data.min_train_per_class, unreadable)
    if failed:
        checks = tuple(FailedCheck(check=one.check, sentence=one.sentence, images=one.images) for one in failed)
        return Frozen(DatasetRejected(checks=checks), parent, up_to)
    return Frozen(await _version(rows, card, parent, new_labels(rows, before), ports), parent, up_to)


async def _version(
    rows: Sequence[Row], card: ScopeCard, parent: DatasetVersioned | None, fresh: int, ports: Ports
) -> DatasetVersioned:
    classes = card.data.classes
    return DatasetVersioned(
        dataset_id=dataset_id(rows, classes, parent.dataset_id if parent else None),
        number=parent.number + 1 if parent else 1,
        parent_id=parent.dataset_id if parent else None,
        manifest=await ports.manifests.write(rows),
        classes=classes,
        counts=tuple(ClassCount(label=label, **count) for label, count in counts_of(rows, classes)),
        labels=len(rows),
        new_labels=fresh,
    )
