"""The registry's adapter against a real MLflow server."""

from pathlib import Path
from uuid import uuid4

import pytest

from services.chassis.errors import Away
from services.registry.adapters.mlflow_registry import MlflowRegistry
from services.registry.domain import Aliases
from services.registry.ports import NoSuchRun, NoSuchVersion

pytestmark = pytest.mark.integration

MODEL_SHA256 = "a" * 64
TAGS = {"loopline.model_sha256": MODEL_SHA256, "loopline.evaluation": "e-1", "loopline.plan": '{"recipe":"x"}'}


@pytest.fixture
def project() -> str:
    return f"p-{uuid4().hex[:12]}"


@pytest.fixture
def registry(mlflow_url: str) -> MlflowRegistry:
    return MlflowRegistry(mlflow_url, timeout_s=10)


@pytest.fixture
def run_id(mlflow_url: str, tmp_path: Path) -> str:
    """A run as the trainer leaves it: `model.pt` among its artifacts."""
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_url)
    run = client.create_run("0")
    (tmp_path / "model.pt").write_bytes(b"torchscript")
    client.log_artifact(run.info.run_id, str(tmp_path / "model.pt"))
    return str(run.info.run_id)


async def test_versions_point_to_the_runs_model_and_carry_their_lineage(
    registry: MlflowRegistry, mlflow_url: str, project: str, run_id: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    (tmp_path / "back").mkdir()
    assert await registry.find(project, run_id, MODEL_SHA256) is None
    number = await registry.create(project, run_id, TAGS, "Accuracy is 84 %.")
    assert number == 1
    assert await registry.find(project, run_id, MODEL_SHA256) == (1, TAGS)
    assert await registry.find(project, run_id, "b" * 64) is None

    client = MlflowClient(mlflow_url)
    version = client.get_model_version(project, "1")
    assert (version.run_id, version.description, version.tags) == (run_id, "Accuracy is 84 %.", TAGS)
    assert client.get_model_version_download_uri(project, "1") == f"{client.get_run(run_id).info.artifact_uri}/model.pt"
    client.download_artifacts(run_id, "model.pt", str(tmp_path / "back"))
    assert (tmp_path / "back" / "model.pt").read_bytes() == b"torchscript"


async def test_second_version_of_a_project_counts_on(registry: MlflowRegistry, project: str, run_id: str) -> None:
    await registry.create(project, run_id, TAGS, "")
    assert await registry.create(project, run_id, TAGS | {"loopline.model_sha256": "c" * 64}, "") == 2
    assert (await registry.find(project, run_id, "c" * 64) or (0,))[0] == 2


async def test_version_of_an_unknown_or_deleted_run_is_refused(
    registry: MlflowRegistry, mlflow_url: str, project: str, run_id: str
) -> None:
    from mlflow import MlflowClient

    with pytest.raises(NoSuchRun, match="no run 0123"):
        await registry.create(project, "0123456789abcdef0123456789abcdef", TAGS, "")
    MlflowClient(mlflow_url).delete_run(run_id)
    with pytest.raises(NoSuchRun, match="deleted"):
        await registry.create(project, run_id, TAGS, "")


async def test_aliases_move_and_name_existing_versions_only(
    registry: MlflowRegistry, project: str, run_id: str
) -> None:
    assert await registry.aliases(project) == Aliases()
    for sha256 in ("1" * 64, "2" * 64):
        await registry.create(project, run_id, TAGS | {"loopline.model_sha256": sha256}, "")
    await registry.set_alias(project, "champion", 1)
    await registry.set_alias(project, "previous", 1)
    await registry.set_alias(project, "champion", 2)
    assert await registry.aliases(project) == Aliases(champion=2, previous=1)
    with pytest.raises(NoSuchVersion, match="no version 3"):
        await registry.set_alias(project, "champion", 3)
    assert await registry.answers()


async def test_tags_are_set_on_versions_that_are_there(
    registry: MlflowRegistry, mlflow_url: str, project: str, run_id: str
) -> None:
    from mlflow import MlflowClient

    await registry.create(project, run_id, TAGS, "")
    await registry.tag(project, 1, {"loopline.approved_by": "ines", "loopline.empty": "", "loopline.long": "x" * 9_000})
    tags = MlflowClient(mlflow_url).get_model_version(project, "1").tags
    assert tags["loopline.approved_by"] == "ines"
    assert "loopline.empty" not in tags
    assert len(tags["loopline.long"]) == 5_000
    with pytest.raises(NoSuchVersion, match="no version 2"):
        await registry.tag(project, 2, {"loopline.approved_by": "ines"})


async def test_a_lineage_longer_than_a_tag_may_be_does_not_hinder_a_registration(
    registry: MlflowRegistry, mlflow_url: str, project: str, run_id: str
) -> None:
    from mlflow import MlflowClient

    assert await registry.create(project, run_id, TAGS | {"loopline.plan": "x" * 120_000}, "") == 1
    assert len(MlflowClient(mlflow_url).get_model_version(project, "1").tags["loopline.plan"]) == 5_000


async def test_a_run_tells_what_was_logged_with_it(registry: MlflowRegistry, mlflow_url: str, run_id: str) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, DatasetInput

    client = MlflowClient(mlflow_url)
    client.set_tag(run_id, "mlflow.source.git.commit", "9c1e7f2")
    client.log_param(run_id, "lr", 0.1)
    client.log_inputs(run_id, [DatasetInput(Dataset("solar 1", "0" * 16, "loopline", "blob://x"))])
    client.set_terminated(run_id)
    run = await registry.run(run_id)
    assert run.tags["mlflow.source.git.commit"] == "9c1e7f2"
    assert (run.parameters, run.datasets) == ({"lr": "0.1"}, ("0" * 16,))
    assert run.seconds >= 0
    assert await registry.artifact(run_id, "model.pt") == b"torchscript"
    assert await registry.artifacts(run_id) == {"model.pt"}
    with pytest.raises(NoSuchRun):
        await registry.run("0123456789abcdef0123456789abcdef")


async def test_versions_made_by_hand_and_their_aliases_are_seen(
    registry: MlflowRegistry, mlflow_url: str, project: str, run_id: str
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_url)
    client.create_registered_model(project)
    assert (await registry.all_aliases())[project] == {}
    artifacts = client.get_run(run_id).info.artifact_uri
    client.create_model_version(project, f"{artifacts}/model.pt", run_id)
    client.set_registered_model_alias(project, "candidate", "1")
    client.set_registered_model_alias(project, "champion", "1")
    assert (await registry.all_aliases())[project] == {"candidate": 1, "champion": 1}
    found = await registry.version(project, 1)
    assert (found.number, found.run_id, found.tags) == (1, run_id, {})
    assert await registry.brought(project, run_id) == 1
    client.create_model_version(project, f"{artifacts}/model.pt", run_id)
    await registry.tag(project, 2, {"loopline.handed_over": "x"})
    assert await registry.brought(project, run_id) == 2, "it is the one that is judged"
    client.delete_model_version(project, "2")
    await registry.tag(project, 1, {"loopline.model_sha256": MODEL_SHA256})
    assert await registry.brought(project, run_id) is None
    await registry.drop_alias(project, "champion")
    await registry.drop_alias(project, "champion")
    assert (await registry.all_aliases())[project] == {"candidate": 1}
    with pytest.raises(NoSuchVersion):
        await registry.version(project, 2)


async def test_an_unreachable_server_is_away_at_once_and_is_left_to_the_delivery() -> None:
    registry = MlflowRegistry("http://127.0.0.1:9", timeout_s=10)
    with pytest.raises(Away, match=r"MLflow at http://127\.0\.0\.1:9 does not answer: is it running\?"):
        await registry.answers()
