"""The warm child process of the trainer: imports torch and MLflow once, then trains job after job.

python -m services.trainer.worker
"""

import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pkgutil import resolve_name
from typing import Any

import torch

from contracts.events.base import BlobRef
from contracts.events.training import TrainedModel
from services.chassis.blobs import BlobMissing, Blobs
from services.chassis.child import serve
from services.chassis.errors import Rejected, Retry
from services.chassis.manifest import read_manifest
from services.chassis.recipes import recipe
from services.trainer.adapters.mlflow_runs import FoundRun, MlflowRuns, RunFacts
from services.trainer.dataset import COLUMNS, Dataset, NotTrainable
from services.trainer.job import Cancel, Job, Made, Places
from services.trainer.recipes.extractor import extractor
from services.trainer.recipes.head import Examples, fit_head
from services.trainer.recipes.kept import cores
from services.trainer.recipes.parameters import FrozenFeatures
from services.trainer.recipes.recipe import Context, MadeModel, Report, Train

log = logging.getLogger(__name__)

_LEAST_PAUSE_S = 0.5
_MODEL_TAG, _GOLDEN_TAG, _SIDE_TAG = "loopline.model_sha256", "loopline.golden_sha256", "loopline.max_side"

Say = Callable[[dict[str, Any]], None]


class MadeBefore(Exception):
    """An earlier try finished the run of this claim, and what it `made` is there."""

    def __init__(self, made: Made) -> None:
        super().__init__(made.run_id)
        self.made = made


def handle(given: dict[str, Any], say: Say) -> dict[str, Any]:
    """Run the training `given["job"]`, or do `given["cancel"]`, with the `given["places"]`.

    Returns a `Made`, or whether it is `cancelled`.

    Raises:
        Rejected: this training cannot succeed as asked; the text says why and what to do.
        Away: MLflow does not answer.
        Retry: MLflow does not do this.
    """
    places = Places.model_validate(given["places"])
    runs = MlflowRuns(places.mlflow_url)
    if "cancel" in given:
        cancel = Cancel.model_validate(given["cancel"])
        ended = runs.kill(cancel.project, cancel.claim, cancel.reason, _now_ms())
        return {"cancelled": not (ended and ended.finished)}
    job, blobs = Job.model_validate(given["job"]), Blobs(places.blobs_root, make=False)
    try:
        made = train(job, runs, blobs, places.kept_root, paced(say))
    except MadeBefore as before:
        made = before.made
    return made.model_dump(mode="json")


def train(job: Job, runs: MlflowRuns, blobs: Blobs, kept_root: str, report: Report) -> Made:
    """Train, and log it in the run of the claim.

    Raises:
        MadeBefore: that was done before. Found at the beginning, or when this try fails.
        Rejected, Away, Retry: as `handle`.
    """
    facts = run_facts(job)
    with ThreadPoolExecutor(1) as aside:
        # The run begins while the work does.
        begun = aside.submit(begin, job, facts, runs, blobs)
        try:
            dataset = read_dataset(job, blobs)
            context = Context(blobs, kept_root, job.plan.seed, unless_hopeless(begun, report))
            made = trainer_of(job.plan.recipe)(dataset, job.plan.parameters, context)
            model = stored(made, job, blobs)
            run_id = begun.result()
            report("log", 0, 1, {})
            runs.complete(
                run_id,
                facts,
                files={"model.pt": made.model, "golden.npz": made.golden},
                metrics=made.metrics,
                tags={
                    _MODEL_TAG: model.file.sha256,
                    _GOLDEN_TAG: model.golden.sha256,
                    _SIDE_TAG: str(model.max_side),
                },
                now_ms=_now_ms(),
            )
            report("log", 1, 1, {})
            return Made(run_id=run_id, model=model, metrics=made.metrics)
        except Exception as error:
            not_begun = begun.exception()
            if isinstance(not_begun, MadeBefore):
                raise not_begun from error
            if not not_begun:
                raise_if_made(mark_failed(runs, begun.result(), error), job, blobs)
            raise


def trainer_of(name: str) -> Train:
    """The function that trains by this recipe, found where it is installed.

    Raises:
        Rejected: it cannot be loaded.
    """
    try:
        trains: Train = resolve_name(recipe(name).train)
    except Exception as error:
        raise Rejected(f"the recipe {name} cannot be loaded: {error}; is all that it needs installed?") from error
    return trains


def begin(job: Job, facts: RunFacts, runs: MlflowRuns, blobs: Blobs) -> str:
    """The id of the run for this job. Raises MadeBefore."""
    run = runs.begin(facts, _now_ms())
    raise_if_made(run, job, blobs)
    return run.id


def raise_if_made(run: FoundRun | None, job: Job, blobs: Blobs) -> None:
    """Raises MadeBefore where the run is finished and its files are still in the blob store."""
    if run is None or not run.finished:
        return
    try:
        file, golden = (
            BlobRef(uri=f"blob://{sha256}.{kind}", sha256=sha256, size_bytes=len(blobs.read(f"blob://{sha256}.{kind}")))
            for sha256, kind in ((run.tags[_MODEL_TAG], "pt"), (run.tags[_GOLDEN_TAG], "npz"))
        )
        max_side = int(run.tags[_SIDE_TAG])
    except (KeyError, BlobMissing) as gone:
        log.warning("the run %s is finished, but its result is not to be had again: %s", run.id, gone)
        return
    model = TrainedModel(file=file, golden=golden, classes=job.classes, max_side=max_side)
    raise MadeBefore(Made(run_id=run.id, model=model, metrics=dict(run.metrics)))


def unless_hopeless(begun: Future[str], report: Report) -> Report:
    """Report, but stop where it was made before or MLflow is away: to learn that after minutes of work is too late."""

    def checked(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
        if begun.done():
            begun.result()
        report(stage, done, total, metrics)

    return checked


def stored(made: MadeModel, job: Job, blobs: Blobs) -> TrainedModel:
    """Put a model and its golden answers into the blob store."""
    return TrainedModel(
        file=blobs.put(made.model, "pt"),
        golden=blobs.put(made.golden, "npz"),
        classes=job.classes,
        max_side=made.max_side,
    )


def mark_failed(runs: MlflowRuns, run_id: str, error: Exception) -> FoundRun | None:
    """Say in MLflow why a run failed; where that cannot be said either, the log has both reasons."""
    try:
        return runs.fail(run_id, str(error), _now_ms())
    except Retry as also:
        log.warning("the run %s could not be marked as failed: %s", run_id, also)
        return None


def read_dataset(job: Job, blobs: Blobs) -> Dataset:
    """The dataset of the job's manifest.

    Raises:
        Rejected: the manifest is gone or no dataset to train on.
    """
    try:
        return Dataset.of(read_manifest(blobs.read(job.manifest.uri), COLUMNS).to_pylist(), job.classes)
    except NotTrainable as error:
        raise Rejected(str(error)) from error


def run_facts(job: Job) -> RunFacts:
    """What its run is known by."""
    parameters = {name: str(value) for name, value in job.plan.parameters.items()}
    return RunFacts(
        project=job.project,
        claim=job.claim,
        name=f"{job.plan.recipe} on dataset {job.dataset_number}",
        tags={
            "loopline.project": job.project,
            "loopline.plan": job.plan_hash,
            "loopline.dataset": job.plan.dataset_id,
            "loopline.dataset_number": str(job.dataset_number),
            "loopline.correlation": job.correlation_id,
        },
        parameters={"recipe": job.plan.recipe, "seed": str(job.plan.seed), **parameters},
        dataset_id=job.plan.dataset_id,
        dataset_name=f"{job.project} {job.dataset_number}",
        manifest_uri=job.manifest.uri,
    )


def paced(say: Say, clock: Callable[[], float] = time.monotonic) -> Report:
    """Report progress at most twice a second: what comes sooner is left out."""
    last = -_LEAST_PAUSE_S

    def report(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
        nonlocal last
        if (now := clock()) - last >= _LEAST_PAUSE_S:
            last = now
            say({"stage": stage, "done": done, "total": total, "metrics": metrics})

    return report


def warm() -> None:
    """Pay before the first job what is paid once: imports, threads, the linear algebra, the traced backbone."""
    torch.set_num_threads(cores())
    extractor(FrozenFeatures().image_px)
    few = Examples(torch.eye(2, 3), torch.tensor([0, 1]))
    fit_head(few, few, classes=2)


def _now_ms() -> int:
    return int(time.time() * 1000)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr)
    serve(handle, warm)
