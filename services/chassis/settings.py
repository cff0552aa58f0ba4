"""What every service is told by its environment. A service adds its own fields in its `settings.py`."""

import os
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

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
