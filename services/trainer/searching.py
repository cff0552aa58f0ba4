"""A search in the child process: trials of one study, each a training with a run of its own under the search's."""

import time
from collections.abc import Mapping
from dataclasses import replace

from services.chassis.errors import Busy, Rejected
from services.chassis.recipes import NotARecipe, checked
from services.trainer.adapters.mlflow_runs import STUDY_TAG
from services.trainer.adapters.optuna_study import OptunaStudy, Trial, answering
from services.trainer.checkpoints import KeptCheckpoint
from services.trainer.job import Job, Made
from services.trainer.recipes.recipe import Pruned
from services.trainer.training import Bench, now_ms, run_facts, train

_LOOK_EVERY_S = 0.5
_PARENT_TAG = "mlflow.parentRunId"


def search(job: Job, bench: Bench, studies_url: str) -> Made | None:
    """Train until the budget is spent; whoever owns the study then gives the best, who helps gives nothing.

    Killed at any moment it goes on with the trials that are there, and with the one that it was at.

    Raises:
        Rejected: no trial came to an end; the text says why the first failed.
        Busy: there is nothing to help with yet.
        Away, Retry: as `train`.
    """
    assert job.plan.search
    with answering(studies_url):
        study = OptunaStudy(studies_url, job.claim, job.plan.search, job.plan.seed)
        if not job.helps:
            study.begun_by(job.owner)
        parent = _parent(job, bench)
        while trial := study.take(job.owner):
            with study.at_work(trial):
                _try(trial, study, job, bench, parent)
            _report(study, job, bench)
        if job.helps:
            return None
        while study.in_work():
            time.sleep(_LOOK_EVERY_S)
        made = _best(study, job, bench, parent)
    # Of trials whose trainer died and never came back.
    KeptCheckpoint(bench.kept_root, job.claim).drop()
    return made


def _parent(job: Job, bench: Bench) -> str:
    """The id of the run of the search, which its owner makes."""
    if job.helps:
        found = bench.runs.find(job.project, job.claim)
        if found is None:
            raise Busy(f"the search {job.claim} has no run yet")
        return found.id
    return bench.runs.begin(run_facts(job, _space(job)), now_ms()).id


def _space(job: Job) -> dict[str, str]:
    assert job.plan.search
    return {f"loopline.search.{name}": str(tried) for name, tried in job.plan.search.space.items()}


def _try(trial: Trial, study: OptunaStudy, job: Job, bench: Bench, parent: str) -> None:
    assert job.plan.search
    objective = job.plan.search.objective

    def valued(metrics: Mapping[str, float]) -> float:
        if objective not in metrics:
            raise Rejected(
                f"the recipe {job.plan.recipe} gives no {objective}: name one of {', '.join(sorted(metrics))} "
                "as the objective; of validation there are only numbers where there are validation images"
            )
        return metrics[objective]

    def on_epoch(done: int, metrics: Mapping[str, float]) -> None:
        # Within a recipe: what its database does there is no mistake of the recipe.
        with answering(study.url):
            if study.time_is_up and study.best():
                raise Pruned("the time of the search was up")
            value = metrics.get(objective)
            if value is not None and study.should_stop(trial, done, value):
                raise Pruned(f"{objective} was {value:.4g} at epoch {done}, worse than half of the trials before it")

    try:
        outcome = train(
            _job_of(trial, job),
            replace(
                bench,
                report=lambda stage, done, total, metrics: None,
                tags={_PARENT_TAG: parent, STUDY_TAG: job.claim, "loopline.trial": str(trial.number)},
                on_epoch=on_epoch,
                keep=lambda metrics: study.is_best(valued(metrics)),
            ),
        )
    except Pruned:
        study.prune(trial)
    except (Rejected, NotARecipe) as error:
        study.fail(trial, str(error))
    else:
        made = outcome.made.model_dump(mode="json") if outcome.made else None
        study.finish(trial, valued(outcome.metrics), made)


def _job_of(trial: Trial, job: Job) -> Job:
    parameters = checked(job.plan.recipe, {**job.plan.parameters, **trial.parameters})
    plan = job.plan.model_copy(update={"parameters": parameters, "search": None})
    return job.model_copy(update={"claim": f"{job.claim}/t{trial.number}", "plan": plan})


def _report(study: OptunaStudy, job: Job, bench: Bench) -> None:
    assert job.plan.search
    best = study.best()
    metrics = {f"best_{job.plan.search.objective}": best.value} if best else {}
    bench.report("fit", study.ended(), job.plan.search.budget.trials, metrics)


def _best(study: OptunaStudy, job: Job, bench: Bench, parent: str) -> Made:
    """The best trial as the result of the search, whose run ends with it."""
    best = study.best()
    if best is None:
        why = study.why_failed() or "none came to its end within the budget"
        reason = f"of {study.ended()} trials none gave a model: {why}"
        bench.runs.fail(parent, reason, now_ms())
        study.forget()
        raise Rejected(reason)
    made = Made.model_validate(best.result)
    parameters = checked(job.plan.recipe, {**job.plan.parameters, **best.parameters})
    if not bench.runs.is_finished(parent):
        tags = {"loopline.best_run": made.run_id, "loopline.best_trial": str(best.number)}
        bench.runs.complete(parent, run_facts(job, {}), files={}, metrics=made.metrics, tags=tags, now_ms=now_ms())
    return made.model_copy(update={"parameters": parameters})
