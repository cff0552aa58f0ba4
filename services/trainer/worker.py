"""The warm child process of the trainer: imports torch and MLflow once, then trains job after job.

python -m services.trainer.worker, alone or under torchrun: process 0 then speaks, the others train along.
"""

import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from services.chassis.blobs import Blobs
from services.chassis.child import serve
from services.trainer.adapters.mlflow_runs import MlflowRuns
from services.trainer.along import call, dismiss, train_along
from services.trainer.checkpoints import KeptCheckpoint
from services.trainer.job import Cancel, Job, Places
from services.trainer.recipes.extractor import extractor
from services.trainer.recipes.head import Examples, fit_head
from services.trainer.recipes.kept import cores
from services.trainer.recipes.parameters import FrozenFeatures
from services.trainer.recipes.recipe import Report
from services.trainer.recipes.sharing import joined, rank
from services.trainer.searching import search
from services.trainer.training import Bench, now_ms, train

_LEAST_PAUSE_S = 0.5

Say = Callable[[dict[str, Any]], None]


def handle(given: dict[str, Any], say: Say) -> dict[str, Any]:
    """Run the training `given["job"]`, or do `given["cancel"]`, with the `given["places"]`.

    Returns a `Made`, nothing from who only helps, or whether it is `cancelled`.

    Raises:
        Rejected: this training cannot succeed as asked; the text says why and what to do.
        Away: MLflow or the blob store does not answer.
        Retry: MLflow does not do this.
    """
    places = Places.model_validate(given["places"])
    runs = MlflowRuns(places.mlflow_url)
    if "cancel" in given:
        cancel = Cancel.model_validate(given["cancel"])
        ended = runs.kill(cancel.project, cancel.claim, cancel.reason, now_ms())
        if not (ended and ended.finished):
            KeptCheckpoint(places.kept_root, cancel.claim).drop()
        return {"cancelled": not (ended and ended.finished)}
    job = Job.model_validate(given["job"])
    blobs = Blobs(places.blobs_root, make=False)
    bench = Bench(runs, blobs, places.kept_root, paced(say), called=partial(call, places))
    made = search(job, bench, places.studies_url) if job.plan.search else train(job, bench).made
    return made.model_dump(mode="json") if made else {}


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


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr)
    with joined():
        if rank() == 0:
            serve(handle, warm)
            dismiss()
        else:
            train_along()
