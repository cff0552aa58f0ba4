"""The registry: what it hears and with what it answers."""

from functools import partial
from typing import Any

from contracts.events.deployment import DeploymentCompleted
from contracts.events.evaluation import EvaluationCompleted
from services.chassis.app import Service
from services.registry.adapters.mlflow_registry import MlflowRegistry
from services.registry.handlers import on_deployment_completed, on_evaluation_completed
from services.registry.ports import VersionStore
from services.registry.settings import RegistrySettings


def build(settings: RegistrySettings | None = None, versions: VersionStore | None = None) -> Service:
    """The service, not yet connected. `versions` stands in for MLflow."""
    settings = settings or RegistrySettings()
    service = Service("registry", settings)
    if versions is None:
        mlflow = MlflowRegistry(settings.mlflow_url, settings.mlflow_timeout_s)
        service.on_start(mlflow.warm)
        service.ready_when("mlflow", mlflow.answers)
        versions = mlflow
    ports: dict[str, Any] = {"versions": versions, "claims": service.claims, "said": service.bus}
    service.hear(
        "registry-versions",
        {
            EvaluationCompleted: partial(on_evaluation_completed, **ports),
            DeploymentCompleted: partial(on_deployment_completed, **ports),
        },
    )
    return service
