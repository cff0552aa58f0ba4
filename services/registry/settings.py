"""What the registry is told by its environment."""

from services.chassis.settings import MlflowUrl, Settings


class RegistrySettings(Settings):
    """`LOOPLINE_…` variables. User and password for MLflow go into MLflow's own `MLFLOW_TRACKING_…`."""

    mlflow_url: MlflowUrl = "http://127.0.0.1:5000"
    mlflow_timeout_s: int = 10
