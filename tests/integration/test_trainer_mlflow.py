"""The trainer's child process against a real MLflow server, on real handwriting."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import pytest_asyncio
import requests
from mlflow import MlflowClient
from mlflow.entities import Run
from sklearn.datasets import load_digits

from contracts.events.base import BlobRef
from contracts.events.training import TrainingPlan
from deploy.embedded.servers import HOST, free_port
from services.chassis.blobs import Blobs
from services.chassis.child import WarmChild
from services.chassis.errors import Retry
from services.chassis.recipes import checked
from services.trainer.adapters.torch_process import WORKER, TorchProcess, worker_env
from services.trainer.job import Job, Made, Places
from services.trainer.ports import CannotTrain
from services.trainer.worker import handle
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


def runs_of(client: MlflowClient, job: Job) -> list[Run]:
    experiment = client.get_experiment_by_name(job.project)
    assert experiment
    return list(client.search_runs([experiment.experiment_id]))


def bytes_of(path: str) -> bytes:
    return Path(path).read_bytes()


def hide_an_image(places: Places) -> tuple[Path, Path]:
    image = next(Path(places.blobs_root).rglob("*.png"))
    return image, image.rename(image.with_suffix(".hidden"))


def run_until_killed(job: Job, places: Places, *, finished: bool = False) -> int:
    """The same work in a process that dies when everything is logged, before the run is finished or at once after."""
    code = f"""
import json, os, signal, sys
from mlflow import MlflowClient
end = MlflowClient.set_terminated
def dies(*args):
    {finished} and end(*args)
    os.kill(os.getpid(), signal.SIGKILL)
MlflowClient.set_terminated = dies
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
    files = {file.path for file in client.list_artifacts(result.run_id)}
    assert {"MLmodel", "golden.npz", "model.pt", "model_card.md", "requirements.txt"} <= files
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


async def test_a_run_that_somebody_died_in_ends_as_killed_when_it_is_cancelled_and_goes_on_when_wanted_again(
    job: Job, places: Places, child: WarmChild
) -> None:
    process, client = TorchProcess(child, places), MlflowClient(places.mlflow_url)
    assert await process.cancel(job.project, job.claim, "nothing was begun"), "there is not even an experiment"
    assert run_until_killed(job, places) == -9

    for _ in range(2):
        assert await process.cancel(job.project, job.claim, "superseded by dataset version 4")
    (run,) = runs_of(client, job)
    assert (run.info.status, run.info.end_time is None) == ("KILLED", False)
    assert run.data.tags["loopline.cancelled_because"] == "superseded by dataset version 4"

    result = await made(process, job)
    (run,) = runs_of(client, job)
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    assert "loopline.cancelled_because" not in run.data.tags


async def test_who_died_after_the_run_was_finished_has_made_it_whatever_becomes_of_the_next_try(
    job: Job, places: Places, child: WarmChild, blobs: Blobs
) -> None:
    process, client = TorchProcess(child, places), MlflowClient(places.mlflow_url)
    assert run_until_killed(job, places, finished=True) == -9
    (left,) = runs_of(client, job)
    assert left.info.status == "FINISHED"
    # So that a second try cannot but fail.
    hide_an_image(places)
    shutil.rmtree(places.kept_root)

    assert not await process.cancel(job.project, job.claim, "superseded"), "too late"
    result = await made(process, job)

    (run,) = runs_of(client, job)
    assert (run.info, run.data.tags, run.data.metrics) == (left.info, left.data.tags, left.data.metrics)
    metrics = {name: value for name, value in run.data.metrics.items() if not name.startswith("system/")}
    assert (result.run_id, result.metrics) == (run.info.run_id, metrics)
    assert result.model.file.sha256 == run.data.tags["loopline.model_sha256"]
    assert result.model.file.size_bytes == len(blobs.read(result.model.file.uri))
    assert result.model.golden.sha256 == run.data.tags["loopline.golden_sha256"]
    assert (result.model.classes, result.model.max_side) == (CLASSES, PARAMETERS["max_side"])


async def test_a_run_that_is_finished_before_a_try_fails_is_its_result(
    job: Job, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = MlflowClient.set_terminated

    def answer_is_lost(*args: Any) -> None:
        end(*args)
        raise requests.ConnectionError("the connection was reset")

    monkeypatch.setattr(MlflowClient, "set_terminated", answer_is_lost)
    given = {"job": job.model_dump(mode="json"), "places": places.model_dump(mode="json")}
    result = Made.model_validate(handle(given, lambda _: None))
    (run,) = runs_of(MlflowClient(places.mlflow_url), job)
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    assert "loopline.failed_because" not in run.data.tags
    assert result.model.file.sha256 == run.data.tags["loopline.model_sha256"]


async def test_a_finished_run_whose_model_is_gone_is_made_again(job: Job, places: Places, child: WarmChild) -> None:
    first = await made(TorchProcess(child, places), job)
    (Path(places.blobs_root) / first.model.file.sha256[:2] / f"{first.model.file.sha256}.pt").unlink()
    again = await made(TorchProcess(child, places), job)
    (run,) = runs_of(MlflowClient(places.mlflow_url), job)
    assert (again.run_id, run.info.status) == (first.run_id, "FINISHED")
    assert Blobs(places.blobs_root).exists(again.model.file.uri)


async def test_an_absent_mlflow_is_known_within_seconds_and_tried_again(
    job: Job, places: Places, child: WarmChild
) -> None:
    nobody = places.model_copy(update={"mlflow_url": f"http://{HOST}:{free_port()}"})
    begun = time.monotonic()
    with pytest.raises(Retry, match="MLflow at http://"):
        await made(TorchProcess(child, nobody), job)
    assert time.monotonic() - begun < 30
