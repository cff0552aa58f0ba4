"""What the trainer is told by its environment."""

from services.chassis.settings import VAR, MlflowUrl, Settings


class TrainerSettings(Settings):
    """`kept_root` (of the chassis) is where features are kept; deleting it costs time only.

    `studies_url` is where Optuna keeps its studies, an SQLAlchemy URL. Trainers on several machines need a server, such
    as postgresql://…, with its driver installed.
    """

    mlflow_url: MlflowUrl = "http://127.0.0.1:5000"
    mlflow_timeout_s: int = 10
    studies_url: str = f"sqlite:///{VAR / 'studies.db'}"
