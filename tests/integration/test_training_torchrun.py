"""The trainer's child under torchrun: two processes share one training, and one of them speaks."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from mlflow import MlflowClient

from contracts.events.training import TrainingPlan
from services.chassis.blobs import Blobs
from services.chassis.child import WarmChild
from services.chassis.recipes import checked
from services.trainer.adapters.torch_process import WORKER, TorchProcess, launcher, worker_env
from services.trainer.job import Job, Made, Places
from services.trainer.ports import CannotTrain
from tests.eventually import eventually
from tests.manifests import two_corners

pytestmark = pytest.mark.integration

FEW = {"image_px": 48, "max_side": 40, "epochs": 1, "epochs_all": 1, "views": 1}


@pytest.fixture
async def child() -> AsyncIterator[WarmChild]:
    child = WarmChild(WORKER, worker_env(10), launcher("--standalone --nproc-per-node=2"))
    yield child
    await child.stop()


def job(places: Places, recipe: str, **parameters: object) -> Job:
    project = f"shared-{uuid4().hex[:8]}"
    plan = TrainingPlan(dataset_id="0123456789abcdef", recipe=recipe, parameters=checked(recipe, parameters), seed=0)
    return Job(
        project=project,
        claim=f"train.{project}.0123",
        plan_hash="0123",
        plan=plan,
        dataset_number=3,
        classes=("upper", "lower"),
        manifest=two_corners(Blobs(places.blobs_root)),
        correlation_id="turn-1",
    )


async def made(process: TorchProcess, job: Job) -> Made:
    found = [step async for step in process.train(job) if isinstance(step, Made)]
    assert len(found) == 1
    return found[0]


def trainers() -> list[psutil.Process]:
    """Of the processes that this one started, those that train."""
    below = psutil.Process().children(recursive=True)
    return [one for one in below if one.is_running() and WORKER in " ".join(one.cmdline())]


async def test_two_processes_train_one_model_also_after_a_training_that_cannot_be(
    child: WarmChild, mlflow_url: str, tmp_path: Path
) -> None:
    places = Places(blobs_root=str(tmp_path / "blobs"), kept_root=str(tmp_path / "kept"), mlflow_url=mlflow_url)
    process = TorchProcess(child, places)
    with pytest.raises(CannotTrain, match="the loss is not a number"):
        await made(process, job(places, "fine-tune", **FEW | {"epochs": 30, "lr": 1.0, "weight_decay": 10.0}))
    alone = await made(process, job(places, "frozen-features", image_px=48, max_side=40))
    assert alone.metrics["validation_accuracy"] >= 0.8
    asked = job(places, "fine-tune", **FEW)
    shared = await made(process, asked)
    # torchrun itself, and its two.
    assert len(trainers()) == 3
    runs = MlflowClient(mlflow_url)
    experiment = runs.get_experiment_by_name(asked.project)
    assert experiment
    [run] = runs.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status) == (shared.run_id, "FINISHED")
    assert [point.step for point in runs.get_metric_history(shared.run_id, "epoch/train_loss")] == [1, 2]
    await child.stop()

    async def all_have_ended() -> None:
        assert trainers() == []

    await eventually(all_have_ended, timeout_s=30)
