"""What the command line is told by its environment, beside what every part is told."""

from pydantic import Field, SecretStr

from services.chassis.settings import Settings, TritonNodes


class CliSettings(Settings):
    """`LOOPLINE_…` variables. `loopline label` needs Label Studio, `run` MLflow, `doctor` all of them."""

    label_studio_url: str = "http://127.0.0.1:8080"
    label_studio_token: SecretStr = SecretStr("")
    mlflow_url: str = "http://127.0.0.1:5000"
    triton_nodes: TritonNodes = Field(default={"local": "127.0.0.1:8001"})
