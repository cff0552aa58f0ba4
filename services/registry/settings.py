"""What the registry is told by its environment."""

from pydantic import Field

from services.chassis.settings import MlflowUrl, Settings


class RegistrySettings(Settings):
    """`LOOPLINE_…` variables. User and password for MLflow go into MLflow's own `MLFLOW_TRACKING_…`."""

    mlflow_url: MlflowUrl = "http://127.0.0.1:5000"
    mlflow_timeout_s: int = 10
    # The private key, Ed25519 in PEM, with which versions are signed. Without one nothing that is registered may serve.
    signing_key_file: str = ""
    # How often MLflow is looked at for what people did there by hand.
    mlflow_look_period_s: float = Field(default=10, gt=0)
