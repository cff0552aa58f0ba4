"""The trainer's child process against a real MLflow server, on real handwriting."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import pytest_asyncio
from mlflow import MlflowClient
from sklearn.datasets import load_digits

from contracts.events.base import BlobRef
from contracts.events.training import TrainingPlan
from deploy.embedded.servers import HOST, free_port
from services.chassis.blobs import Blobs
from services.chassis.child import WarmChild
from services.chassis.errors import Retry
from services.trainer.adapters.torch_process import WORKER, TorchProcess, worker_env
from services.trainer.job import Job, Made, Places
from services.trainer.ports import CannotTrain
from services.trainer.recipes import checked
from tests.manifests import manifest

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

CLASSES = ("0", "1", "7")
PARAMETERS = checked("frozen-features", {"image_px": 64})
TIMEOUT_S = 2


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"))


@pytest.fixture
def digits(blobs: Blobs) -> BlobRef:
    """A manifest of twenty pictures of each class: 12 to train, 4 to calibrate, 4 to test."""
    data = load_digits()
    labelled = []
    for name in CLASSES:
        for number, image in enumerate(data.images[data.target == int(name)][:20]):
            pixels = np.kron(image * 15, np.ones((8, 8))).astype(np.uint8)
            labelled.append((pixels, name, "train" if number < 12 else "validation" if number < 16 else "test"))
    return manifest(blobs, labelled)


@pytest.fixture
def job(digits: BlobRef) -> Job:
    project = f"digits-{uuid4().hex[:8]}"
    return Job(
        project=project,
        claim=f"train.{project}.0123",
        plan_hash="0123",
        plan=TrainingPlan(dataset_id="0123456789abcdef", recipe="frozen-features", parameters=PARAMETERS, seed=0),
        dataset_number=3,
        classes=CLASSES,
        manifest=digits,
        correlation_id="turn-1",
    )


@pytest.fixture
def places(tmp_path: Path, mlflow_url: str) -> Places:
    return Places(blobs_root=str(tmp_path / "blobs"), kept_root=str(tmp_path / "kept"), mlflow_url=mlflow_url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def child() -> AsyncIterator[WarmChild]:
    """One for all tests here: its start is most of what they cost."""
    child = WarmChild(WORKER, worker_env(TIMEOUT_S))
    yield child
    await child.stop()


async def made(process: TorchProcess, job: Job) -> Made:
    *_, last = [step async for step in process.train(job)]
    assert isinstance(last, Made)
    return last


def bytes_of(path: str) -> bytes:
    return Path(path).read_bytes()


def hide_an_image(places: Places) -> tuple[Path, Path]:
    image = next(Path(places.blobs_root).rglob("*.png"))
    return image, image.rename(image.with_suffix(".hidden"))


def run_until_killed(job: Job, places: Places) -> int:
    """The same work in a process that dies after everything is logged and before the run is finished."""
    code = """
import json, os, signal, sys
from mlflow import MlflowClient
MlflowClient.set_terminated = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from services.trainer.worker import handle
handle(json.load(sys.stdin), lambda step: None)
"""
    given = json.dumps({"job": job.model_dump(mode="json"), "places": places.model_dump(mode="json")})
    return subprocess.run([sys.executable, "-c", code], input=given, text=True, check=False).returncode


async def test_a_trainer_killed_before_it_finished_leaves_one_run_after_all(
    job: Job, places: Places, child: WarmChild, blobs: Blobs, tmp_path: Path
) -> None:
    assert run_until_killed(job, places) == -9
    client = MlflowClient(places.mlflow_url)
    experiment = client.get_experiment_by_name(job.project)
    (left,) = client.search_runs([experiment.experiment_id])
    assert left.info.status == "RUNNING"

    result = await made(TorchProcess(child, places), job)

    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    assert result.run_id == left.info.run_id
    assert run.data.tags["loopline.dataset"] == job.plan.dataset_id
    assert run.data.tags["loopline.correlation"] == "turn-1"
    assert run.data.tags["loopline.model_sha256"] == result.model.file.sha256
    assert run.data.params["image_px"] == "64"
    assert run.data.metrics["validation_accuracy"] >= 0.9
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.digest, dataset.dataset.source) == (job.plan.dataset_id, job.manifest.uri)
    assert sorted(file.path for file in client.list_artifacts(result.run_id)) == ["golden.npz", "model.pt"]
    logged = bytes_of(client.download_artifacts(result.run_id, "model.pt", str(tmp_path)))
    assert hashlib.sha256(logged).hexdigest() == result.model.file.sha256
    assert blobs.read(result.model.file.uri) == logged


async def test_work_that_fails_is_marked_failed_and_goes_on_in_the_same_run(
    job: Job, places: Places, child: WarmChild, blobs: Blobs
) -> None:
    process = TorchProcess(child, places)
    client = MlflowClient(places.mlflow_url)
    image, hidden = hide_an_image(places)
    with pytest.raises(CannotTrain, match="is not in the blob store"):
        await made(process, job)
    experiment = client.get_experiment_by_name(job.project)
    (failed,) = client.search_runs([experiment.experiment_id])
    assert failed.info.status == "FAILED"
    assert "is not in the blob store" in failed.data.tags["loopline.failed_because"]

    hidden.rename(image)
    result = await made(process, job)
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    assert "loopline.failed_because" not in run.data.tags

    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(CannotTrain, match="was deleted: restore it"):
        await made(process, job)


async def test_an_absent_mlflow_is_known_within_seconds_and_tried_again(
    job: Job, places: Places, child: WarmChild
) -> None:
    nobody = places.model_copy(update={"mlflow_url": f"http://{HOST}:{free_port()}"})
    begun = time.monotonic()
    with pytest.raises(Retry, match="MLflow at http://"):
        await made(TorchProcess(child, nobody), job)
    assert time.monotonic() - begun < 30
