"""What trainer, evaluator and registry are given to do, and what must come of it."""

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from mlflow import MlflowClient

from contracts.events.base import BlobRef
from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.deployment import DeploymentCompleted
from contracts.events.model import ModelApproved, ModelDemoted, ModelRejected, ModelVersion
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainedModel, TrainingCompleted, TrainingPlan, TrainingRequested
from contracts.project import Data, Gates, ScopeCard
from contracts.topology import LOOP
from services.trainer.recipes.recipe import MadeModel
from tests.chaos.killpoints import handler
from tests.chaos.killpoints_play import Play
from tests.chaos.killpoints_scene import Scene
from tests.chaos.killpoints_tiny import made
from tests.chaos.tiny import CLASSES, SIDE
from tests.manifests import manifest_of, picture, two_corners
from tests.services.registry.world import MODEL, evaluation
from tests.signing import signed

_DATASET = "0123456789abcdef"
_RUN_TAG = "loopline.claim"


async def _define(scene: Scene) -> None:
    card = ScopeCard(project=scene.project, data=Data(classes=CLASSES), gates=Gates(min_test_per_class=1))
    await scene.client.say(ProjectDefined(card=card), project=scene.project)


def _dataset(manifest: BlobRef, number: int = 1) -> DatasetVersioned:
    counts = tuple(ClassCount(label=label, train=2, validation=1, test=1) for label in CLASSES)
    id_ = f"{number:016x}"
    return DatasetVersioned(
        dataset_id=id_, number=number, manifest=manifest, classes=CLASSES, counts=counts, labels=8, new_labels=8
    )


async def _version(scene: Scene, number: int = 1) -> None:
    manifest = two_corners(scene.client.blobs, train=2, validation=1, test=1, side=SIDE)
    await scene.say(_dataset(manifest, number), f"version-{number}")


async def _train_again(scene: Scene) -> None:
    """After the version itself, the same once more, and with another seed; each wish twice."""
    scene.copies = 2
    await _version(scene)
    await scene.say(TrainingRequested(again=True), "again")
    await scene.say(TrainingRequested(seed=7), "another-seed")


async def _version_of_gone_images(scene: Scene) -> None:
    rows: list[dict[str, object]] = []
    for place, label in enumerate(CLASSES):
        sha256 = f"{place}" * 64
        uri = f"blob://{sha256}.png"
        rows.append({"sha256": sha256, "uri": uri, "label": label, "split": "train", "width": SIDE, "height": SIDE})
    await scene.say(_dataset(manifest_of(scene.client.blobs, rows)), "versioned")


async def _runs(scene: Scene) -> dict[str, Any]:
    """Of each run its state, how it failed, its claim, its files and numbers, and whether its result was said."""
    return {"runs": await asyncio.to_thread(_seen_runs, scene, await _run_ids_said(scene))}


async def _run_ids_said(scene: Scene) -> set[str]:
    return {event.run_id async for event, _, _ in scene.client.read(TrainingCompleted, scene.project)}


def _seen_runs(scene: Scene, said: set[str]) -> list[dict[str, Any]]:
    client = MlflowClient(scene.around.mlflow_url)
    experiment = client.get_experiment_by_name(scene.project)
    return [
        {
            "status": run.info.status,
            "claimed": run.data.tags[_RUN_TAG].startswith(f"train.{scene.project}."),
            "failed": "loopline.failed_because" in run.data.tags,
            # Pictures there are where validation has images, which a tiny dataset has not.
            "files": sorted(
                file.path for file in client.list_artifacts(run.info.run_id) if not file.path.endswith(".png")
            ),
            "metrics": "validation_accuracy" in run.data.metrics,
            "datasets": len(run.inputs.dataset_inputs),
            "said": run.info.run_id in said,
        }
        for run in (client.search_runs([experiment.experiment_id]) if experiment else [])
    ]


def golden_model(sharpness: float = 20.0) -> MadeModel:
    """A network of one number with its golden answers."""
    pictures = [picture(label, 0, SIDE) for label in range(len(CLASSES))]
    return made([pixels[None].repeat(3, axis=0) for pixels in pictures], sharpness)


def tiny_model(scene: Scene, sharpness: float = 20.0) -> TrainedModel:
    """The same in the blob store of the scene."""
    model = golden_model(sharpness)
    return TrainedModel(
        file=scene.client.blobs.put(model.model, "pt"),
        golden=scene.client.blobs.put(model.golden, "npz"),
        classes=CLASSES,
        max_side=SIDE,
    )


async def _complete(scene: Scene) -> None:
    trained = TrainingCompleted(
        plan=TrainingPlan(dataset_id=_DATASET, recipe="frozen-features", seed=0),
        dataset_number=1,
        manifest=two_corners(scene.client.blobs, train=2, validation=1, test=2, side=SIDE),
        run_id=uuid4().hex,
        model=tiny_model(scene),
        metrics={},
        seconds=1,
    )
    await scene.say(trained, "trained")


async def _kept(scene: Scene) -> dict[str, Any]:
    """How many answers are kept."""
    return {"kept": sum(one.is_file() for one in (Path(scene.env["LOOPLINE_KEPT_ROOT"]) / "answers").rglob("*"))}


async def _run_is_there(scene: Scene) -> None:
    mlflow = MlflowClient(scene.around.mlflow_url)
    scene.kept["run"] = (await asyncio.to_thread(mlflow.create_run, "0")).info.run_id


async def _judge(scene: Scene) -> None:
    await scene.say(evaluation(run_id=scene.kept["run"]), "judged")


def _make_versions(scene: Scene, count: int, **aliases: int) -> None:
    """So many versions in the registry, each of a run of its own, and the aliases."""
    mlflow = MlflowClient(scene.around.mlflow_url)
    mlflow.create_registered_model(scene.project)
    for _ in range(count):
        run = mlflow.create_run("0").info
        mlflow.create_model_version(scene.project, f"{run.artifact_uri}/model.pt", run.run_id)
    for alias, version in aliases.items():
        mlflow.set_registered_model_alias(scene.project, alias, str(version))


async def _champion_is_there(scene: Scene) -> None:
    """Two versions in the registry, the first of them is champion, the second approved."""
    await asyncio.to_thread(_make_versions, scene, 2, champion=1)
    approved = ModelApproved(version=_version_of(scene, 2), approved_by="ines", why="looked at it")
    await scene.say(approved, "approved")


def _version_of(scene: Scene, number: int) -> ModelVersion:
    version = ModelVersion(
        name=scene.project, version=number, model=MODEL, run_id=f"run-{number}", dataset_id=_DATASET,
        dataset_number=number,
    )  # fmt: skip
    return signed(version)


async def _deploy_second(scene: Scene) -> None:
    deployed = DeploymentCompleted(version=_version_of(scene, 2), checks=(), replaces=1)
    await scene.say(deployed, "deployed", cause="approved")


async def _three_have_served(scene: Scene) -> None:
    """One after the other, and the registry has heard of it."""
    await asyncio.to_thread(_make_versions, scene, 3, champion=3, previous=2)
    jetstream = scene.client.bus.jetstream
    for number in (1, 2, 3):
        await scene.say(DeploymentCompleted(version=_version_of(scene, number), checks=()), f"deployed-{number}")
    heard = await jetstream.pull_subscribe_bind(consumer="registry-versions", stream=LOOP)
    for message in await heard.fetch(3, timeout=10):
        await message.ack_sync()
    await heard.unsubscribe()


async def _reject_second(scene: Scene) -> None:
    rejected = ModelRejected(version=_version_of(scene, 2), rejected_by="ines", why="dust")
    await scene.say(rejected, "rejected")


async def _demote_third(scene: Scene) -> None:
    demoted = ModelDemoted(version=_version_of(scene, 3), demoted_by="ines", why="false alarms")
    await scene.say(demoted, "demoted")


async def _somebody_makes_a_champion(scene: Scene) -> None:
    """A version of a run with its files, and the alias on it, by MLflow's own API."""

    def make() -> None:
        mlflow, model = MlflowClient(scene.around.mlflow_url), golden_model()
        mlflow.create_registered_model(scene.project)
        run = mlflow.create_run("0").info
        with TemporaryDirectory() as folder:
            (Path(folder) / "model.pt").write_bytes(model.model)
            (Path(folder) / "golden.npz").write_bytes(model.golden)
            mlflow.log_artifacts(run.run_id, folder)
        mlflow.create_model_version(scene.project, f"{run.artifact_uri}/model.pt", run.run_id)
        mlflow.set_registered_model_alias(scene.project, "champion", "1")

    await asyncio.to_thread(make)


async def _define_with_a_dataset(scene: Scene) -> None:
    await _define(scene)
    await _version(scene)


async def _registered(scene: Scene) -> dict[str, Any]:
    """The versions of the project's model and its aliases."""

    def see() -> Mapping[str, Any]:
        mlflow = MlflowClient(scene.around.mlflow_url)
        found = mlflow.search_registered_models(f"name = '{scene.project}'")
        versions = mlflow.search_model_versions(f"name = '{scene.project}'")
        return {
            "versions": sorted(int(version.version) for version in versions),
            "aliases": {alias: int(number) for model in found for alias, number in model.aliases.items()},
        }

    return dict(await asyncio.to_thread(see))


_RUN = {
    "status": "FINISHED",
    "claimed": True,
    "failed": False,
    "files": [
        "MLmodel",
        "code",
        "golden.npz",
        "input_example.json",
        "model.pt",
        "model_card.md",
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
    ],
    "metrics": True,
    "datasets": 1,
    "said": True,
}
_EMPTY_RUN = {**_RUN, "files": [], "metrics": False, "datasets": 0, "said": False}
_FAILED_RUN = {**_EMPTY_RUN, "status": "FAILED", "failed": True}
_KILLED_RUN = {**_EMPTY_RUN, "status": "KILLED"}

SUPERSEDED = Play(
    handler("trainer: dataset.versioned"),
    _version,
    _runs,
    {
        "said": {"training.started": 2, "training.completed": 1, "training.cancelled": 1},
        "claims": {"train done": 1},
        # The newest first.
        "runs": [_RUN, _KILLED_RUN],
    },
    arrange=_define,
    meanwhile=partial(_version, number=2),
)

WANTED_AGAIN = Play(
    handler("trainer: dataset.versioned"),
    _train_again,
    _runs,
    {"said": {"training.started": 3, "training.completed": 3}, "claims": {"train done": 3}, "runs": [_RUN] * 3},
    arrange=_define,
)

PLAYS = (
    Play(
        handler("trainer: dataset.versioned"),
        _version,
        _runs,
        {"said": {"training.started": 1, "training.completed": 1}, "claims": {"train done": 1}, "runs": [_RUN]},
        arrange=_define,
    ),
    Play(
        handler("trainer: dataset.versioned, no model possible"),
        _version_of_gone_images,
        _runs,
        {"said": {"training.started": 1, "training.failed": 1}, "claims": {}, "runs": [_FAILED_RUN]},
        arrange=_define,
    ),
    Play(
        handler("evaluator: training.completed"),
        _complete,
        _kept,
        {"said": {"evaluation.completed": 1}, "claims": {}, "kept": 4},
        arrange=_define,
    ),
    Play(
        handler("registry: evaluation.completed"),
        _judge,
        _registered,
        {
            "said": {"model.registered": 1, "model.approved": 1},
            "claims": {"register done": 1},
            "versions": [1],
            "aliases": {},
        },
        arrange=_run_is_there,
    ),
    Play(
        handler("registry: deployment.completed"),
        _deploy_second,
        _registered,
        {
            "said": {"model.promoted": 1},
            "claims": {"promote done": 1},
            "versions": [1, 2],
            "aliases": {"champion": 2, "previous": 1},
        },
        arrange=_champion_is_there,
    ),
    Play(
        handler("registry: model.rejected"),
        _reject_second,
        _registered,
        {"said": {}, "claims": {}, "versions": [1, 2, 3], "aliases": {"champion": 3, "previous": 1}},
        arrange=_three_have_served,
    ),
    Play(
        handler("registry: model.demoted"),
        _demote_third,
        _registered,
        {
            "said": {"model.approved": 1},
            "claims": {},
            "versions": [1, 2, 3],
            "aliases": {"champion": 3, "previous": 2},
        },
        arrange=_three_have_served,
    ),
    Play(
        handler("registry: by itself: by hand"),
        _somebody_makes_a_champion,
        _registered,
        {"said": {"training.completed": 1}, "claims": {}, "versions": [1], "aliases": {}},
        arrange=_define_with_a_dataset,
    ),
)
