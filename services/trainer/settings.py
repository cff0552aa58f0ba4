"""What the trainer is told by its environment."""

from services.chassis.settings import VAR, MlflowUrl, Settings


class TrainerSettings(Settings):
    """`kept_root` (of the chassis) is where features are kept; deleting it costs time only.

    `studies_url` is where Optuna keeps its studies, an SQLAlchemy URL. Trainers on several machines need a server, such
    as postgresql://…, with its driver installed.

    `torchrun` are its arguments, such as `--standalone --nproc-per-node=4`: the child that trains is then so many
    processes, which share the batches of recipes by gradients. Empty: one process, without torchrun.
    """

    mlflow_url: MlflowUrl = "http://127.0.0.1:5000"
    mlflow_timeout_s: int = 10
    torchrun: str = ""
    studies_url: str = f"sqlite:///{VAR / 'studies.db'}"
