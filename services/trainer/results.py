"""What came of a training, and how a finished MLflow run says so again."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from contracts.events.base import BlobRef
from contracts.events.training import TrainedModel
from contracts.runs import GOLDEN_SHA256, MAX_SIDE, MODEL_SHA256, REVISION
from services.chassis.blobs import BlobMissing, Blobs
from services.trainer.adapters.mlflow_runs import STUDY_TAG, FoundRun
from services.trainer.job import Job, Made
from services.trainer.logged.environment import code_revision
from services.trainer.recipes.recipe import MadeModel

log = logging.getLogger(__name__)

# What lies in the blob store: the tag of its sha256, and its suffix.
_MODEL = (MODEL_SHA256, "pt")
_GOLDEN = (GOLDEN_SHA256, "npz")
_EXPORTED = ("loopline.exported_sha256", "pt2")
_DOUBTS = ("loopline.doubts_sha256", "npz")


@dataclass(frozen=True)
class Outcome:
    """How good a training was, and what it made; nothing where that was not worth keeping."""

    metrics: dict[str, float]
    made: Made | None


class MadeBefore(Exception):
    """An earlier try finished the run of this claim."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("made before")
        self.outcome = outcome


def stored(made: MadeModel, job: Job, run_id: str, blobs: Blobs) -> Made:
    """Put a model and all that belongs to it into the blob store."""
    model = TrainedModel(
        file=blobs.put(made.model, _MODEL[1]),
        golden=blobs.put(made.golden, _GOLDEN[1]),
        classes=job.classes,
        max_side=made.max_side,
        exported=blobs.put(made.exported, _EXPORTED[1]) if made.exported is not None else None,
    )
    return Made(
        run_id=run_id,
        model=model,
        metrics=made.metrics,
        doubts=blobs.put(made.doubts, _DOUBTS[1]) if made.doubts is not None else None,
        code_revision=code_revision(),
    )


def tags_of(made: Made) -> dict[str, str]:
    """What a run must carry to say its result again."""
    model = made.model
    parts = ((_MODEL, model.file), (_GOLDEN, model.golden), (_EXPORTED, model.exported), (_DOUBTS, made.doubts))
    tags = {tag: ref.sha256 for (tag, _), ref in parts if ref is not None}
    revision = {REVISION: made.code_revision} if made.code_revision else {}
    return {**tags, MAX_SIDE: str(model.max_side), **revision}


def raise_if_made(run: FoundRun | None, job: Job, blobs: Blobs, keep: Callable[[Mapping[str, float]], bool]) -> None:
    """Raises MadeBefore where the run is finished, and its files are still in the blob store or were not worth it."""
    if run is None or not run.finished:
        return
    metrics = {name: value for name, value in run.metrics.items() if "/" not in name}
    if STUDY_TAG in run.tags and _MODEL[0] not in run.tags and not keep(metrics):
        raise MadeBefore(Outcome(metrics, None))

    def ref(part: tuple[str, str]) -> BlobRef:
        sha256, suffix = run.tags[part[0]], part[1]
        uri = f"blob://{sha256}.{suffix}"
        return BlobRef(uri=uri, sha256=sha256, size_bytes=len(blobs.read(uri)))

    try:
        model = TrainedModel(
            file=ref(_MODEL),
            golden=ref(_GOLDEN),
            classes=job.classes,
            max_side=int(run.tags[MAX_SIDE]),
            exported=ref(_EXPORTED) if _EXPORTED[0] in run.tags else None,
        )
        doubts = ref(_DOUBTS) if _DOUBTS[0] in run.tags else None
    except (KeyError, BlobMissing) as gone:
        log.warning("the run %s is finished, but its result is not to be had again: %s", run.id, gone)
        return
    revision = run.tags.get(REVISION, "")
    made = Made(run_id=run.id, model=model, metrics=metrics, doubts=doubts, code_revision=revision)
    raise MadeBefore(Outcome(metrics, made))
