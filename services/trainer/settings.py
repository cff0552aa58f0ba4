"""What the trainer is told by its environment."""

from services.chassis.settings import MlflowUrl, Settings


class TrainerSettings(Settings):
    """`kept_root` (of the chassis) is where features are kept; deleting it costs time only."""

    mlflow_url: MlflowUrl = "http://127.0.0.1:5000"
    mlflow_timeout_s: int = 10
