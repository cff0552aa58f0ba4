"""Every service as it is built, its outside systems in memory."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from contracts.events.base import BlobRef
from contracts.events.training import TrainedModel
from services.chassis.app import Service
from services.deployer import app as deployer
from services.deployer.settings import DeployerSettings
from services.evaluator import app as evaluator
from services.evaluator.job import Compared
from services.evaluator.settings import EvaluatorSettings
from services.labeling_sync import app as labeling_sync
from services.labeling_sync.settings import LabelingSyncSettings
from services.predictor import app as predictor
from services.predictor.settings import PredictorSettings
from services.registry import app as registry
from services.registry.settings import RegistrySettings
from services.trainer import app as trainer
from services.trainer.job import Job, Made
from services.trainer.ports import Step
from services.trainer.settings import TrainerSettings
from tests.fuzz.messages import SECRET
from tests.services.deployer.world import Nodes, Steps
from tests.services.evaluator.test_handlers import CLASSES, metrics
from tests.services.labeling_sync.world import FakeLabelling
from tests.services.predictor.world import Models
from tests.services.registry.world import Versions

REF = BlobRef(uri=f"blob://{'a' * 64}.pt", sha256="a" * 64, size_bytes=3)


class _Trains:
    async def train(self, job: Job) -> AsyncGenerator[Step | Made]:
        yield Step("features", 1, 2)
        model = TrainedModel(file=REF, golden=REF, classes=job.classes, max_side=64)
        yield Made(run_id="run-1", model=model, metrics={"validation_accuracy": 0.9})

    async def cancel(self, project: str, claim: str, reason: str) -> bool:
        return True


class _Compares:
    async def compare(self, job: Any) -> Compared:
        return Compared(candidate=metrics("a", 0.8), shared=None)


class _Runs(set[str]):
    """MLflow has whatever run it is asked for."""

    def __contains__(self, run: object) -> bool:
        return True


def _settings(folder: Path) -> dict[str, Any]:
    return {
        "nats_user": "test",
        "nats_password": SECRET,
        "blobs_root": str(folder / "blobs"),
        "kept_root": str(folder / "kept"),
    }


# What the predictor finds in the bucket `deployments`.
ROUTE = {"current": {"version": 4, "model": "solar-v4", "classes": CLASSES, "max_side": 64}, "nodes": ["local"]}

BUILD: dict[str, Callable[[Path], Service]] = {
    "labeling-sync": lambda folder: labeling_sync.build(
        LabelingSyncSettings(**_settings(folder), label_studio_token=SECRET), FakeLabelling()
    ),
    "trainer": lambda folder: trainer.build(TrainerSettings(**_settings(folder)), _Trains()),
    "evaluator": lambda folder: evaluator.build(EvaluatorSettings(**_settings(folder)), _Compares()),
    "registry": lambda folder: registry.build(RegistrySettings(**_settings(folder)), Versions(runs=_Runs())),
    "deployer": lambda folder: deployer.build(
        DeployerSettings(**_settings(folder)), Nodes(Steps(), {"a": {}, "b": {}})
    ),
    "predictor": lambda folder: predictor.build(PredictorSettings(**_settings(folder)), Models()),
}
