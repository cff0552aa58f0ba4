"""Each example, run as it stands there, judged by the real evaluator, and served by a real Triton."""

import asyncio
import json
import math
import re
from pathlib import Path
from uuid import uuid4

import nbformat
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from contracts.events.evaluation import EvaluationCompleted
from contracts.events.model import ModelVersion
from contracts.events.training import TrainingCompleted
from services.chassis.blobs import Blobs
from services.deployer.adapters.blob_store import BlobArtifacts
from services.deployer.adapters.triton import TritonNodes
from services.deployer.golden import read as read_golden
from services.deployer.installing import install, take_off
from tests.eventually import eventually
from tests.examples.loop import ROOT, Loop, loop_running, some_digits
from tests.servers import eventually_gone

pytestmark = pytest.mark.notebooks


@pytest.fixture
def project() -> str:
    return f"digits-{uuid4().hex[:8]}"


async def handed_over(loop: Loop, project: str) -> TrainingCompleted:
    """What the loop knows of the one model: said once, in the store and in MLflow, and judged."""
    said = await loop.only(TrainingCompleted, project)
    blobs = Blobs(str(loop.folder / "blobs"))
    golden = read_golden(blobs.read(said.model.golden.uri))
    assert golden.probabilities.shape == (8, 10)
    run = MlflowClient(loop.mlflow_url).get_run(said.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["loopline.model_sha256"] == said.model.file.sha256
    logged = download_artifacts(run_id=said.run_id, artifact_path="model.pt", tracking_uri=loop.mlflow_url)
    assert await asyncio.to_thread(Path(logged).read_bytes) == blobs.read(said.model.file.uri)
    verdict = await loop.only(EvaluationCompleted, project)
    assert verdict.verdict == "passed", verdict.sentence
    assert verdict.run_id == said.run_id
    return said


async def deployed(said: TrainingCompleted, loop: Loop, triton: str) -> None:
    """A real node takes the model, and answers as it answered where it was made."""
    blobs = Blobs(str(loop.folder / "blobs"))
    version = ModelVersion(
        name=loop.folder.name.replace("_", "-"),
        version=1,
        model=said.model,
        run_id=said.run_id,
        dataset_id=said.plan.dataset_id,
        dataset_number=said.dataset_number,
    )
    nodes = TritonNodes({"local": triton}, load_timeout_s=120, call_timeout_s=60)
    golden = read_golden(blobs.read(said.model.golden.uri))
    try:
        check = await install(version, "local", golden, nodes=nodes, artifacts=BlobArtifacts(blobs), threads=1)
        await take_off(version.name, (1,), nodes)
    finally:
        await nodes.close()
    assert check.golden_images == 8


async def test_scikit_learn_script(tmp_path: Path, mlflow_url: str, triton: str, project: str) -> None:
    async with loop_running(tmp_path, mlflow_url) as loop:
        await loop.define(project, some_digits(500), least_accuracy=0.8)
        ended = await loop.python("examples/sklearn_logistic.py", "--project", project)
        assert ended.code == 0, ended.err
        assert "passed. " in ended.out
        said = await handed_over(loop, project)
        await deployed(said, loop, triton)
        assert said.plan.recipe == "sklearn-logistic"
        assert said.plan.parameters["C"] == "1.0"  # of the autologging
        assert said.metrics["validation_accuracy"] > 0.8


async def test_pytorch_script(tmp_path: Path, mlflow_url: str, triton: str, project: str) -> None:
    async with loop_running(tmp_path, mlflow_url) as loop:
        await loop.define(project, some_digits(500), least_accuracy=0.7)
        ended = await loop.python("examples/pytorch_cnn.py", "--project", project, "--epochs", "5")
        assert ended.code == 0, ended.err
        said = await handed_over(loop, project)
        await deployed(said, loop, triton)
        assert said.plan.parameters == {"project": project, "epochs": "5", "rate": "0.003", "seed": "0"}
        assert len(MlflowClient(mlflow_url).get_metric_history(said.run_id, "train_loss")) == 5


async def test_notebook_as_a_job_with_parameters(tmp_path: Path, mlflow_url: str, triton: str, project: str) -> None:
    async with loop_running(tmp_path, mlflow_url) as loop:
        await loop.define(project, some_digits(500), least_accuracy=0.7)
        before = (ROOT / "examples" / "train.ipynb").read_bytes()
        words = ("run", "examples/train.ipynb", "--set", "epochs=40", "--project", project, "--json")
        ended = await loop.python("-m", "services.cli", *words)
        assert ended.code == 0, ended.err
        assert "validation accuracy" in ended.err, "what cells print is shown as they print it"
        assert (ROOT / "examples" / "train.ipynb").read_bytes() == before

        said = await handed_over(loop, project)
        await deployed(said, loop, triton)
        assert json.loads(ended.out)["run_id"] == said.run_id, "the notebook worked in the job's run"
        assert said.plan.parameters["max_iter"] == "40"
        assert all(math.isfinite(value) for value in said.metrics.values())
        executed = download_artifacts(
            run_id=said.run_id, artifact_path="notebook/train.ipynb", tracking_uri=loop.mlflow_url
        )
        cells = nbformat.read(executed, as_version=4).cells
        assert any("passed: " in str(cell.get("outputs")) for cell in cells)
        assert any("epochs = 40" in cell.source for cell in cells)


async def test_what_the_readme_shows(tmp_path: Path, mlflow_url: str, project: str) -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "examples" / "README.md").read_text(), re.M | re.S)
    async with loop_running(tmp_path, mlflow_url) as loop:
        await loop.define(project, some_digits(150), least_accuracy=0.5)
        (script := tmp_path / "shown.py").write_text(shown.replace('"digits"', f'"{project}"'))
        ended = await loop.python(str(script))
        assert ended.code == 0, ended.err
        assert "below the floor" in ended.out
        assert (await loop.only(EvaluationCompleted, project)).verdict == "failed"


async def test_job_that_is_stopped_ends_as_killed_and_leaves_no_kernel(
    tmp_path: Path, mlflow_url: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loop_running(tmp_path, mlflow_url) as loop:
        await loop.define(project, some_digits(20), least_accuracy=0.5)
        path = tmp_path / "endless.ipynb"
        source = 'import threading, mlflow; mlflow.start_run(); mlflow.log_param("a", 1); threading.Event().wait()'
        cells = [nbformat.v4.new_code_cell(source)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        (job := tmp_path / "job").mkdir()
        with monkeypatch.context() as named:
            named.setenv("TMPDIR", str(job))  # by which its processes are known
            process = await loop.start("-m", "services.cli", "run", str(path), "--project", project)
        client = MlflowClient(mlflow_url)

        async def kernel_works() -> None:
            experiment = client.get_experiment_by_name(project)
            assert experiment
            assert [run.data.params for run in client.search_runs([experiment.experiment_id])] == [{"a": "1"}]

        await eventually(kernel_works, timeout_s=60)
        process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 130, err.decode()
        (run,) = client.search_runs([client.get_experiment_by_name(project).experiment_id])
        assert run.info.status == "KILLED"
        assert run.data.tags["loopline.failed_because"] == "it was interrupted"
        await asyncio.to_thread(eventually_gone, job)


async def test_job_that_fails_says_which_cell_and_keeps_the_notebook(
    tmp_path: Path, mlflow_url: str, project: str
) -> None:
    async with loop_running(tmp_path, mlflow_url) as loop:
        await loop.define(project, some_digits(150), least_accuracy=0.5)
        ended = await loop.python(
            "-m", "services.cli", "run", "examples/train.ipynb", "--set", "hidden=-1", "-p", project
        )
        assert (ended.code, ended.out) == (1, "")
        last = ended.err.splitlines()[-1]
        assert last.startswith("loopline: train.ipynb: In ["), ended.err
        run_id = last.rsplit(" ", 1)[1]
        client = MlflowClient(mlflow_url)
        run = client.get_run(run_id)
        assert run.info.status == "FAILED"
        assert "hidden_layer_sizes" in run.data.tags["loopline.failed_because"]
        assert [file.path for file in client.list_artifacts(run_id, "notebook")] == ["notebook/train.ipynb"]
        assert [event async for event, _, _ in loop.bus.read(TrainingCompleted, project)] == []
