"""What every service is told by its environment. A service adds its own fields in its `settings.py`."""

import json
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# Where the embedded stack keeps its data; `loopline` finds the stack from any folder.
VAR = Path(os.environ.get("LOOPLINE_VAR") or Path(__file__).parents[2] / "var")


class Settings(BaseSettings):
    """Read from `LOOPLINE_…` variables, then `.env`, then `var/loopline.env`, which the embedded stack writes."""

    model_config = SettingsConfigDict(
        env_prefix="LOOPLINE_", env_file=(VAR / "loopline.env", ".env"), extra="ignore", frozen=True
    )

    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str = ""
    nats_password: SecretStr = SecretStr("")
    blobs_root: str = str(VAR / "blobs")
    kept_root: str = str(VAR / "kept")
    traces_dir: str = ""
    http_host: str = "127.0.0.1"
    http_port: int = 0
    log_level: str = "INFO"
    replicas: int = 1


_ADDRESS = re.compile(r"[^\s:/=,]+:[0-9]{1,5}")


def _read_nodes(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return json.loads(value)
    return dict(part.strip().partition("=")[::2] for part in value.split(",") if part.strip())


def _check_nodes(nodes: dict[str, str]) -> dict[str, str]:
    for name, address in nodes.items():
        if not name or not _ADDRESS.fullmatch(address):
            raise ValueError(f"{name}={address} is not a node: write name=host:port, as in local=127.0.0.1:8001")
    return nodes


# Triton nodes by name, gRPC: `name=host:port,name=host:port`, or JSON.
TritonNodes = Annotated[dict[str, str], NoDecode, BeforeValidator(_read_nodes), AfterValidator(_check_nodes)]
