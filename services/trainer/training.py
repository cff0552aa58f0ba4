"""One training in the child process: from a job to a finished MLflow run with its model in the blob store."""

import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pkgutil import resolve_name

from contracts.runs import DATASET, DATASET_NUMBER, PROJECT
from services.chassis.blobs import Blobs, Full
from services.chassis.errors import Rejected, Retry
from services.chassis.manifest import read_manifest
from services.chassis.recipes import recipe
from services.trainer.adapters.mlflow_runs import FoundRun, MlflowRuns, RunFacts
from services.trainer.checkpoints import KeptCheckpoint
from services.trainer.dataset import COLUMNS, Dataset, NotTrainable
from services.trainer.exporting import check, with_archive
from services.trainer.job import Job
from services.trainer.logged.files import files_of
from services.trainer.recipes.recipe import Context, MadeModel, Pruned, Report, Train
from services.trainer.results import MadeBefore, Outcome, raise_if_made, stored, tags_of

log = logging.getLogger(__name__)


class RecipeRaised(Rejected):
    """A recipe raised what it was not asked to: a mistake in it, which no repetition mends."""


@dataclass(frozen=True)
class Bench:
    """What a training works with. `tags` are of its run besides its own.

    `on_epoch` may raise `Pruned`; what does not `keep` its metrics ends as a run with numbers alone. `called` tells
    the other processes of torchrun, where there are any, of a training that all of them share.
    """

    runs: MlflowRuns
    blobs: Blobs
    kept_root: str
    report: Report
    tags: Mapping[str, str] = field(default_factory=dict)
    on_epoch: Callable[[int, Mapping[str, float]], None] = lambda done, metrics: None
    keep: Callable[[Mapping[str, float]], bool] = lambda metrics: True
    called: Callable[[Job], None] = lambda job: None


def train(job: Job, bench: Bench) -> Outcome:
    """Train, and log it in the run of the claim. Done before, by whoever died then, it is not done again.

    Raises:
        Pruned: it was not worth going on with.
        Rejected: this training cannot succeed as asked; the text says why and what to do.
        Away: MLflow or the blob store does not answer.
        Retry: MLflow does not do this.
    """
    checkpoint = KeptCheckpoint(bench.kept_root, job.claim)
    try:
        outcome = _train(job, bench, checkpoint)
    except MadeBefore as before:
        outcome = before.outcome
    except (Rejected, Pruned):
        checkpoint.drop()
        raise
    checkpoint.drop()
    return outcome


def _train(job: Job, bench: Bench, checkpoint: KeptCheckpoint) -> Outcome:
    facts = run_facts(job, bench.tags)
    with ThreadPoolExecutor(1) as aside:
        # The run begins while the work does.
        begun = aside.submit(begin, job, facts, bench)
        watched = aside.submit(lambda: bench.runs.watched(begun.result()))
        try:
            with understood(job.plan.recipe):
                dataset = read_dataset(job, bench.blobs)
                train = trainer_of(job.plan.recipe)
                if recipe(job.plan.recipe).shared:
                    bench.called(job)
                made = train(dataset, job.plan.parameters, _context(job, bench, begun, checkpoint))
                _check_numbers(made.metrics)
            if not bench.keep(made.metrics):
                bench.runs.complete(begun.result(), facts, files={}, metrics=made.metrics, tags={}, now_ms=now_ms())
                return Outcome(made.metrics, None)
            made = with_archive(made) if job.exports else made
            check(made, job.plan.recipe, len(job.classes))
            return _logged(job, facts, bench, begun.result(), dataset, made)
        except Exception as error:
            not_begun = begun.exception()
            if isinstance(not_begun, MadeBefore):
                raise not_begun from error
            if not not_begun:
                raise_if_made(_mark_ended(bench.runs, begun.result(), error), job, bench.blobs, bench.keep)
            if isinstance(error, Full):
                # Waited for, it would hold up every training: whoever asks again has made room.
                raise Rejected(f"{error}, then ask again") from error
            raise
        finally:
            if not watched.exception():
                watched.result().finish()


def _logged(job: Job, facts: RunFacts, bench: Bench, run_id: str, dataset: Dataset, made: MadeModel) -> Outcome:
    result = stored(made, job, run_id, bench.blobs)
    bench.report("log", 0, 1, {})
    bench.runs.complete(
        run_id,
        facts,
        files=files_of(job, run_id, dataset, made, bench.blobs, result.code_revision),
        metrics=made.metrics,
        tags=tags_of(result),
        now_ms=now_ms(),
    )
    bench.report("log", 1, 1, {})
    return Outcome(made.metrics, result)


def _context(job: Job, bench: Bench, begun: "Future[str]", checkpoint: KeptCheckpoint) -> Context:
    def log_epoch(done: int, metrics: Mapping[str, float]) -> None:
        _check_numbers(metrics)
        bench.runs.log_epoch(begun.result(), done, metrics, now_ms())
        bench.on_epoch(done, metrics)

    report = unless_hopeless(begun, bench.report)
    return Context(bench.blobs, bench.kept_root, job.plan.seed, report, checkpoint, log_epoch)


def _check_numbers(metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise Rejected(
                f"the training has diverged: {name} is no number any more. Try a smaller learning rate or another seed"
            )


@contextmanager
def understood(name: str) -> Iterator[None]:
    """Raises RecipeRaised for whatever a recipe raises without having been asked to."""
    try:
        yield
    except (Rejected, Retry, Pruned, MadeBefore):
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise RecipeRaised(
            f"the recipe {name} raised {type(error).__name__}: {error} ({last.filename}, line {last.lineno}); "
            "traceback.txt in its MLflow run has the rest. Mend the recipe or its parameters, then ask again"
        ) from error


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


def begin(job: Job, facts: RunFacts, bench: Bench) -> str:
    """The id of the run for this job. Raises MadeBefore."""
    run = bench.runs.begin(facts, now_ms())
    raise_if_made(run, job, bench.blobs, bench.keep)
    return run.id


def unless_hopeless(begun: "Future[str]", report: Report) -> Report:
    """Report, but stop where it was made before or MLflow is away: to learn that after minutes of work is too late."""

    def checked(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
        if begun.done():
            begun.result()
        report(stage, done, total, metrics)

    return checked


def _mark_ended(runs: MlflowRuns, run_id: str, error: Exception) -> FoundRun | None:
    """Say in MLflow why a run ended; where that cannot be said either, the log has both reasons."""
    try:
        if isinstance(error, Pruned):
            return runs.prune(run_id, str(error), now_ms())
        # What was refused knowingly says all; of anything else people want to see where.
        known = isinstance(error, Rejected | Retry) and not isinstance(error, RecipeRaised)
        trace = "" if known else "".join(traceback.format_exception(error))
        return runs.fail(run_id, str(error), now_ms(), trace)
    except Retry as also:
        log.warning("the run %s could not be marked as ended: %s", run_id, also)
        return None


def read_dataset(job: Job, blobs: Blobs) -> Dataset:
    """The dataset of the job's manifest.

    Raises:
        Rejected: the manifest is gone or no dataset to train on.
    """
    try:
        rows = read_manifest(blobs.read(job.manifest.uri), COLUMNS).to_pylist()
        return Dataset.of(rows, job.classes, recipe(job.plan.recipe).every_class)
    except NotTrainable as error:
        raise Rejected(str(error)) from None


def run_facts(job: Job, tags: Mapping[str, str]) -> RunFacts:
    """What its run is known by."""
    parameters = {name: str(value) for name, value in job.plan.parameters.items()}
    return RunFacts(
        project=job.project,
        claim=job.claim,
        name=_name(job, tags),
        tags={
            PROJECT: job.project,
            "loopline.plan": job.plan_hash,
            DATASET: job.plan.dataset_id,
            DATASET_NUMBER: str(job.dataset_number),
            "loopline.correlation": job.correlation_id,
            **tags,
        },
        parameters={"recipe": job.plan.recipe, "seed": str(job.plan.seed), **parameters},
        dataset_id=job.plan.dataset_id,
        dataset_name=f"{job.project} {job.dataset_number}",
        manifest_uri=job.manifest.uri,
    )


def _name(job: Job, tags: Mapping[str, str]) -> str:
    if "loopline.trial" in tags:
        return f"trial {tags['loopline.trial']}"
    return f"{'search with ' if job.plan.search else ''}{job.plan.recipe} on dataset {job.dataset_number}"


def now_ms() -> int:
    """The time as MLflow counts it."""
    return int(time.time() * 1000)
