"""`loopline.dataset` and `loopline.hand_over` against a real bus with its users, MLflow and the evaluator."""

import asyncio
from pathlib import Path
from uuid import uuid4

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from torch import Tensor, nn

import loopline
from contracts.events.training import TrainingCompleted
from loopline import Refused
from tests.examples.loop import Loop, loop_running, some_digits

pytestmark = pytest.mark.integration


class Guess(nn.Module):
    """Always the same answer."""

    def __init__(self, bias: float, classes: int = 10) -> None:
        super().__init__()
        self.bias = bias
        self.classes = classes

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = torch.zeros(images.shape[0], self.classes)
        logits[:, 0] = self.bias
        return torch.softmax(logits, dim=1), torch.zeros(images.shape[0], 1, 1), logits


def guess(bias: float = 1.0) -> torch.jit.ScriptModule:
    return torch.jit.script(Guess(bias).eval())


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, mlflow_url: str) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    return f"digits-{uuid4().hex[:8]}"


@pytest.fixture
def run_id(project: str, mlflow_url: str) -> str:
    """A run that is under way."""
    client = MlflowClient(mlflow_url)
    return str(client.create_run(client.create_experiment(project)).info.run_id)


async def here(loop: Loop, project: str, monkeypatch: pytest.MonkeyPatch) -> loopline.Dataset:
    """A dataset of the loop, read as somebody reads it whose environment is set to it."""
    for name, value in loop.environment().items():
        monkeypatch.setenv(name, value)
    await loop.define(project, some_digits(150), least_accuracy=0.9)
    return await asyncio.to_thread(loopline.dataset, project)


async def said(loop: Loop, project: str) -> list[TrainingCompleted]:
    return [event async for event, _, _ in loop.bus.read(TrainingCompleted, project)]


async def test_handed_over_twice_is_said_once_and_judged(
    tmp_path: Path, mlflow_url: str, project: str, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loop_running(tmp_path, mlflow_url) as loop:
        data = await here(loop, project, monkeypatch)
        torch.jit.save(guess(), tmp_path / "model.pt")
        client = MlflowClient(mlflow_url)
        with pytest.raises(Refused, match=r"has no artifact model\.pt"):
            await asyncio.to_thread(loopline.hand_over, None, data, run_id=run_id)
        client.log_artifact(run_id, str(tmp_path / "model.pt"))
        client.set_tag(run_id, "mlflow.source.git.commit", "9c1e7f2")
        first = await asyncio.to_thread(loopline.hand_over, None, data, run_id=run_id)
        again = await asyncio.to_thread(loopline.hand_over, tmp_path / "model.pt", data, run_id=run_id)
        assert again == first
        (event,) = await said(loop, project)
        assert (event.run_id, event.plan.dataset_id, event.code_revision) == (run_id, data.dataset_id, "9c1e7f2")
        assert client.get_run(run_id).info.status == "FINISHED"
        assert {file.path for file in client.list_artifacts(run_id)} == {"golden.npz", "model.pt"}

        judged = await asyncio.to_thread(first.verdict, 60)
        assert judged.verdict == "failed"
        assert "90 %" in judged.sentence

        with pytest.raises(Refused, match="has handed another model over: train this one in a run of its own"):
            await asyncio.to_thread(loopline.hand_over, guess(2.0), data, run_id=run_id)
        assert await said(loop, project) == [event]


async def test_what_will_not_do_is_refused_and_changes_nothing(
    tmp_path: Path, mlflow_url: str, project: str, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loop_running(tmp_path, mlflow_url) as loop:
        data = await here(loop, project, monkeypatch)
        client = MlflowClient(mlflow_url)
        failed = str(client.create_run(client.get_run(run_id).info.experiment_id).info.run_id)
        client.set_terminated(failed, "FAILED")
        blobs = {path.name for path in tmp_path.joinpath("blobs").rglob("*")}
        for model, run, says in (
            (Guess(1.0), run_id, r"the model is a Guess, not TorchScript: hand over torch\.jit\.script"),
            (torch.jit.script(Guess(1.0, classes=3).eval()), run_id, r"probabilities came as \[2, 3\]"),
            (guess(float("nan")), run_id, "not finite"),
            (tmp_path / "missing.pt", run_id, "cannot be read: No such file"),
            (guess(), None, "there is no MLflow run here"),
            (guess(), "0" * 32, "has no run 0000.*set_tracking_uri"),
            (guess(), failed, "ended as FAILED"),
        ):
            with pytest.raises(Refused, match=says):
                await asyncio.to_thread(loopline.hand_over, model, data, run_id=run)
        assert await said(loop, project) == []
        assert client.get_run(run_id).info.status == "RUNNING"
        assert client.list_artifacts(run_id) == []
        assert {path.name for path in tmp_path.joinpath("blobs").rglob("*")} == blobs

        for asked, version, says in (
            ("nowhere", None, rf"the project nowhere is not defined \(defined: {project}\)"),
            (project, "0" * 16, "has no dataset version 0000.*leave it out for the newest"),
        ):
            with pytest.raises(Refused, match=says):
                await asyncio.to_thread(loopline.dataset, asked, version)


async def test_the_active_run_is_taken_and_ended(
    tmp_path: Path, mlflow_url: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loop_running(tmp_path, mlflow_url) as loop:
        data = await here(loop, project, monkeypatch)

        def train() -> tuple[str, loopline.HandedOver]:
            mlflow.set_tracking_uri(loopline.mlflow_url())
            mlflow.set_experiment(project)
            with mlflow.start_run() as run:
                mlflow.log_param("epochs", 3)
                mlflow.log_metrics({"loss": float("nan"), "validation_accuracy": 0.1})
                return run.info.run_id, loopline.hand_over(guess(), data, recipe="guess", seed=7)

        run_id, handed = await asyncio.to_thread(train)
        assert handed.run_id == run_id
        (event,) = await said(loop, project)
        assert (event.plan.recipe, event.plan.seed, event.plan.parameters) == ("guess", 7, {"epochs": "3"})
        assert event.metrics == {"validation_accuracy": 0.1}
        assert MlflowClient(mlflow_url).get_run(run_id).info.status == "FINISHED"
