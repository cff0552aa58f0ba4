"""The registry: what it hears and with what it answers, and what it looks for."""

from functools import partial
from typing import Any

from contracts.events.deployment import DeploymentCompleted
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed
from contracts.events.model import ModelDemoted, ModelRejected
from services.chassis.app import Service
from services.chassis.signing import Signer
from services.registry.adapters.blob_store import BlobFiles
from services.registry.adapters.mlflow_registry import MlflowRegistry
from services.registry.by_hand import Look
from services.registry.handlers import (
    on_deployment_completed,
    on_evaluation_completed,
    on_evaluation_failed,
    on_model_demoted,
    on_model_rejected,
)
from services.registry.ports import ByHand
from services.registry.settings import RegistrySettings


def build(settings: RegistrySettings | None = None, versions: ByHand | None = None) -> Service:
    """The service, not yet connected. `versions` stands in for MLflow.

    Raises:
        BadKey: it has no key to sign with.
    """
    settings = settings or RegistrySettings()
    service = Service("registry", settings)
    signer = Signer(settings.signing_key_file)
    if versions is None:
        mlflow = MlflowRegistry(settings.mlflow_url, settings.mlflow_timeout_s)
        service.on_start(mlflow.warm)
        service.ready_when("mlflow", mlflow.answers)
        versions = mlflow
    ports: dict[str, Any] = {"versions": versions, "said": service.bus}
    service.hear(
        "registry-versions",
        {
            EvaluationCompleted: partial(on_evaluation_completed, **ports, claims=service.claims, signer=signer),
            EvaluationFailed: partial(on_evaluation_failed, versions=versions),
            ModelRejected: partial(on_model_rejected, **ports),
            ModelDemoted: partial(on_model_demoted, **ports),
            DeploymentCompleted: partial(on_deployment_completed, **ports, claims=service.claims),
        },
    )
    look = Look(versions, service.bus, BlobFiles(service.blobs))
    service.every(settings.mlflow_look_period_s, look, name="by-hand")
    return service
