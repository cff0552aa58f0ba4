"""What the command line is told by its environment, beside what every part is told."""

from pydantic import SecretStr

from services.chassis.settings import Settings


class CliSettings(Settings):
    """`LOOPLINE_…` variables. Label Studio is needed by `loopline label` alone."""

    label_studio_url: str = "http://127.0.0.1:8080"
    label_studio_token: SecretStr = SecretStr("")
