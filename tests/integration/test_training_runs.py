"""What a training leaves in MLflow and in its stores, by a recipe that takes no time, against a real MLflow server."""

import asyncio
import errno
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from contracts.events.training import TrainingPlan
from contracts.search import Budget, FloatRange, Search
from services.chassis.blobs import Blobs
from services.chassis.errors import Rejected
from services.chassis.recipes import checked, checked_search
from services.trainer import training
from services.trainer.adapters.torch_process import worker_env
from services.trainer.dataset import Dataset
from services.trainer.job import Job, Made, Places
from services.trainer.recipes.recipe import Context, MadeModel
from services.trainer.worker import handle
from tests.integration import toy_recipe
from tests.manifests import two_corners

pytestmark = pytest.mark.integration

CLASSES = ("upper", "lower")
FILES = {
    "MLmodel",
    "code",
    "confusion_matrix.png",
    "golden.npz",
    "input_example.json",
    "model.pt",
    "model_card.md",
    "python_env.yaml",
    "reliability_diagram.png",
    "requirements.txt",
    "serving_input_example.json",
    "worst_mistakes.png",
}


@pytest.fixture
def places(tmp_path: Path, mlflow_url: str) -> Places:
    return Places(
        blobs_root=str(tmp_path / "blobs"),
        kept_root=str(tmp_path / "kept"),
        mlflow_url=mlflow_url,
        studies_url=f"sqlite:///{tmp_path / 'studies.db'}",
    )


@pytest.fixture
def job(places: Places) -> Job:
    project = f"toy-{uuid4().hex[:8]}"
    parameters = checked("frozen-features", {"l2": 0.01})
    return Job(
        project=project,
        claim=f"train.{project}.0123",
        plan_hash="0123",
        plan=TrainingPlan(dataset_id="0123456789abcdef", recipe="frozen-features", parameters=parameters, seed=0),
        dataset_number=3,
        classes=CLASSES,
        manifest=two_corners(Blobs(places.blobs_root)),
        correlation_id="turn-1",
        owner="LOOP:7",
    )


@pytest.fixture(autouse=True)
def recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "trainer_of", lambda name: toy_recipe.train)


def given(job: Job, places: Places) -> dict[str, Any]:
    return {"job": job.model_dump(mode="json"), "places": places.model_dump(mode="json")}


def made(job: Job, places: Places) -> Made:
    return Made.model_validate(handle(given(job, places), lambda step: None))


def in_a_process(job: Job, places: Places, **dies: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.toy_recipe"],
        env={**os.environ, **worker_env(10), "PYTHONPATH": str(Path(__file__).parents[2]), **dies},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]", job: Job, places: Places) -> tuple[int, str]:
    said, _ = process.communicate(json.dumps(given(job, places)), timeout=120)
    return process.returncode, said


def runs_of(job: Job, places: Places) -> list[Run]:
    client = MlflowClient(places.mlflow_url)
    experiment = client.get_experiment_by_name(job.project)
    assert experiment
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


def checkpoints(places: Places) -> list[Path]:
    return [path for path in (Path(places.kept_root) / "checkpoints").rglob("*") if path.is_file()]


def test_a_run_has_what_users_of_mlflow_look_for(
    job: Job, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = made(job, places)
    (run,) = runs_of(job, places)
    client = MlflowClient(places.mlflow_url)
    (tmp_path / "run").mkdir()
    folder = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path / "run")))
    assert {path.name for path in folder.iterdir()} == FILES
    assert Blobs(places.blobs_root).read(result.model.file.uri) == (folder / "model.pt").read_bytes()
    for name in FILES:
        if name.endswith(".png"):
            assert Image.open(folder / name).size[0] >= 200
    card = (folder / "model_card.md").read_text()
    assert "| upper | 12 | 4 | 6 |" in card
    assert "| `l2` | `0.01` |" in card
    assert "![worst mistakes](worst_mistakes.png)" in card
    assert "torch==" in (folder / "requirements.txt").read_text()
    assert run.data.tags["mlflow.source.git.commit"] == result.code_revision
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "epoch/loss")] == [1, 2, 3, 4]

    model = mlflow.pyfunc.load_model(str(folder))
    assert model.metadata.signature.inputs.inputs[0].type == np.dtype("uint8")
    answer = model.predict(model.metadata.load_input_example(str(folder)))
    assert answer["probabilities"].shape == (1, 2)


def test_who_is_killed_goes_on_from_its_checkpoint_to_the_very_same_model(job: Job, places: Places) -> None:
    whole = made(job.model_copy(update={"claim": f"{job.claim}-whole"}), places)
    for variable, epoch in (("TOY_DIES_AFTER", "1"), ("TOY_DIES_BEFORE_CHECKPOINT", "2"), ("TOY_DIES_AFTER", "3")):
        assert ended(in_a_process(job, places, **{variable: epoch}), job, places)[0] == -9
        assert len(checkpoints(places)) == 1
    result = made(job, places)
    assert result.model.file.sha256 == whole.model.file.sha256
    assert checkpoints(places) == []
    _, run = runs_of(job, places)
    history = MlflowClient(places.mlflow_url).get_metric_history(run.info.run_id, "epoch/loss")
    assert sorted(metric.step for metric in history) == [1, 2, 3, 4]


def test_a_damaged_checkpoint_is_not_loaded(job: Job, places: Places) -> None:
    assert ended(in_a_process(job, places, TOY_DIES_AFTER="2"), job, places)[0] == -9
    (kept,) = checkpoints(places)
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    assert made(job, places).run_id


def test_who_is_cancelled_leaves_a_killed_run_and_no_checkpoint(job: Job, places: Places) -> None:
    assert ended(in_a_process(job, places, TOY_DIES_AFTER="2"), job, places)[0] == -9
    cancel = {"project": job.project, "claim": job.claim, "reason": "cancelled by cli: wrong lamp"}
    assert handle({"cancel": cancel, "places": places.model_dump()}, lambda step: None) == {"cancelled": True}
    (run,) = runs_of(job, places)
    assert run.info.status == "KILLED"
    assert run.data.tags["loopline.cancelled_because"] == "cancelled by cli: wrong lamp"
    assert checkpoints(places) == []


class Broken(Exception):
    """What somebody's recipe raises."""


def raises(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    raise Broken("index 7 is out of range")


def diverges(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    context.epoch(1, 2, {"loss": float("nan")})
    raise AssertionError("went on")


def answers_something_else(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    made = toy_recipe.train(dataset, parameters, context)
    eager: Any = made.eager
    return replace(made, eager=lambda images: [part + 1e-3 for part in eager(images)])


def is_no_model(dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
    return replace(toy_recipe.train(dataset, parameters, context), model=b"PK no model")


@pytest.mark.parametrize(
    ("recipe", "reason", "trace"),
    [
        (raises, r"the recipe frozen-features raised Broken: index 7 .*test_training_runs.py, line", True),
        (diverges, "loss is no number any more. Try a smaller learning rate", False),
        (answers_something_else, "its probabilities differs by 0.001 from eager, in a batch of 1", False),
        (is_no_model, "cannot be served: .*Mend the recipe", False),
    ],
)
def test_a_recipe_that_fails_says_why_and_its_run_says_where(
    recipe: Any, reason: str, trace: bool, job: Job, places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(training, "trainer_of", lambda name: recipe)
    for _ in range(2):
        with pytest.raises(Rejected, match=reason):
            handle(given(job, places), lambda step: None)
    (run,) = runs_of(job, places)
    assert run.info.status == "FAILED"
    assert run.data.tags["loopline.failed_because"]
    client = MlflowClient(places.mlflow_url)
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert files == (["traceback.txt"] if trace else [])
    if trace:
        text = Path(client.download_artifacts(run.info.run_id, "traceback.txt", str(tmp_path))).read_text()
        assert 'raise Broken("index 7 is out of range")' in text
    assert checkpoints(places) == []


def test_a_full_disk_ends_the_training_with_what_to_do(
    job: Job, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "checkpoints" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Rejected, match=r"no room left on the disk of .*: free some, then ask again"):
        handle(given(job, places), lambda step: None)
    (run,) = runs_of(job, places)
    assert run.info.status == "FAILED"


def searching(job: Job, trials: int, **more: Any) -> Job:
    search = Search(
        space={"l2": FloatRange(kind="float", low=1e-5, high=0.1, log=True)}, budget=Budget(trials=trials, **more)
    )
    parameters = checked_search("frozen-features", {}, search)
    return job.model_copy(update={"plan": job.plan.model_copy(update={"search": search, "parameters": parameters})})


def test_a_search_gives_its_best_trial_and_its_runs_lie_under_one(job: Job, places: Places) -> None:
    job = searching(job, 8)
    result = made(job, places)
    parent, *trials = runs_of(job, places)
    assert [run.data.tags["mlflow.parentRunId"] for run in trials] == [parent.info.run_id] * 8
    assert {run.info.status for run in trials} <= {"FINISHED", "KILLED"}
    finished = [run for run in trials if run.info.status == "FINISHED"]
    best = min(finished, key=lambda run: run.data.metrics["validation_log_loss"])
    assert result.run_id == best.info.run_id
    assert result.parameters
    assert str(result.parameters["l2"]) == best.data.params["l2"]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["loopline.best_run"] == best.info.run_id
    assert parent.data.metrics["validation_log_loss"] == best.data.metrics["validation_log_loss"]
    assert checkpoints(places) == []
    assert made(job, places) == result, "done again it is the same"
    assert len(runs_of(job, places)) == 9


def test_two_processes_share_one_study_and_the_death_of_one_counts_no_trial_twice(job: Job, places: Places) -> None:
    job = searching(job, 7)
    helper = job.model_copy(update={"helps": True, "owner": "LOOP:8"})
    assert ended(in_a_process(job, places, TOY_DIES_AFTER="2"), job, places)[0] == -9
    parent, begun = runs_of(job, places)
    assert begun.info.status == "RUNNING"

    async def both() -> None:
        one, two = in_a_process(job, places), in_a_process(helper, places)
        ends = [asyncio.to_thread(ended, one, job, places), asyncio.to_thread(ended, two, helper, places)]
        (code, said), (helped, nothing) = await asyncio.gather(*ends)
        assert (code, helped, json.loads(nothing)) == (0, 0, {})
        best = Made.model_validate_json(said)
        assert best.parameters

    asyncio.run(both())
    first, *trials = runs_of(job, places)
    assert first.info.run_id == parent.info.run_id
    assert sorted(int(run.data.tags["loopline.trial"]) for run in trials) == list(range(7))
    assert {run.info.status for run in trials} <= {"FINISHED", "KILLED"}
    resumed = next(run for run in trials if run.info.run_id == begun.info.run_id)
    assert resumed.data.params.get("l2") or resumed.info.status == "KILLED"


def test_a_search_without_a_single_model_says_why_and_begins_anew_when_asked_again(
    job: Job, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = searching(job, 2)
    monkeypatch.setattr(training, "trainer_of", lambda name: raises)
    with pytest.raises(Rejected, match="of 2 trials none gave a model: the recipe frozen-features raised Broken"):
        handle(given(job, places), lambda step: None)
    assert runs_of(job, places)[0].info.status == "FAILED"
    monkeypatch.setattr(training, "trainer_of", lambda name: toy_recipe.train)
    assert made(job, places).run_id
    assert runs_of(job, places)[0].info.status == "FINISHED"


def test_a_search_whose_time_is_up_gives_what_it_has(job: Job, places: Places) -> None:
    job = searching(job, 1000, minutes=0.05)
    assert made(job, places).run_id
    assert 2 <= len(runs_of(job, places)) < 1000


def test_a_search_that_is_cancelled_leaves_no_open_run_and_no_checkpoint(job: Job, places: Places) -> None:
    job = searching(job, 3)
    assert ended(in_a_process(job, places, TOY_DIES_AFTER="2"), job, places)[0] == -9
    assert len(checkpoints(places)) == 1
    cancel = {"project": job.project, "claim": job.claim, "reason": "cancelled by cli: enough"}
    assert handle({"cancel": cancel, "places": places.model_dump()}, lambda step: None) == {"cancelled": True}
    assert [run.info.status for run in runs_of(job, places)] == ["KILLED", "KILLED"]
    assert checkpoints(places) == []
