"""What every service is told by its environment. A service adds its own fields in its `settings.py`."""

import json
import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contracts.topology import STREAMS

# Where the embedded stack keeps its data; `loopline` finds the stack from any folder.
VAR = Path(os.environ.get("LOOPLINE_VAR") or Path(__file__).parents[2] / "var")


class StreamLimits(BaseModel):
    """How large a stream may become (`2147483648` or `"2GiB"`) and how old its messages; 0 s keeps them for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_bytes: Annotated[ByteSize, Field(ge=2**20)] | None = None
    max_age_s: float | None = Field(None, ge=0)


def _read_streams(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}")
    except json.JSONDecodeError as error:
        example = '{"PREDICTIONS": {"max_bytes": "20GiB", "max_age_s": 604800}}'
        raise ValueError(f"it is not JSON ({error}): write it like {example}") from None


def _check_streams(streams: dict[str, StreamLimits]) -> dict[str, StreamLimits]:
    known = [row.name for row in STREAMS]
    for name in streams:
        if name not in known:
            raise ValueError(f"{name} is no stream: name one of {', '.join(known)}")
    return streams


_CREDENTIALS = re.compile(r"//([^/@,]*)@")


class Settings(BaseSettings):
    """Read from `LOOPLINE_…` variables, then `.env`, then `var/loopline.env`, which the embedded stack writes."""

    model_config = SettingsConfigDict(
        env_prefix="LOOPLINE_",
        env_file=(VAR / "loopline.env", ".env"),
        extra="ignore",
        frozen=True,
        # What is wrong is told by its name: the value may hold a password.
        hide_input_in_errors=True,
    )

    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str = ""
    nats_password: SecretStr = SecretStr("")
    # The file with who vouches for the server's certificate: with it, or `tls://`, TLS is spoken. Certificate and key
    # of this client are for servers that want them. TLS from the first byte needs `handshake_first` in the server;
    # without it whoever sits in between can talk us out of TLS, and gets the password.
    nats_tls_ca: str = ""
    nats_tls_cert: str = ""
    nats_tls_key: str = ""
    nats_tls_first: bool = True
    blobs_root: str = str(VAR / "blobs")
    kept_root: str = str(VAR / "kept")
    traces_dir: str = ""
    # The share of predictions that are traced, 0..1; turns of the loop always are.
    trace_predictions_ratio: float = Field(1.0, ge=0, le=1)
    http_host: str = "127.0.0.1"
    http_port: int = 0
    log_level: str = "INFO"
    # Copies of every stream and bucket: 1 on one machine, 3 on a cluster of three.
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    # Limits of streams that are to differ from the topology, in JSON: {"PREDICTIONS": {"max_bytes": "20GiB", …}, …}.
    streams: Annotated[
        dict[str, StreamLimits], NoDecode, BeforeValidator(_read_streams), AfterValidator(_check_streams)
    ] = {}

    @model_validator(mode="before")
    @classmethod
    def _take_password_out_of_nats_url(cls, given: dict[str, object]) -> dict[str, object]:
        """URLs are shown in logs and errors: user and password of one go where they are not."""
        url = str(given.get("nats_url", ""))
        found = _CREDENTIALS.search(url)
        if found is None:
            return given
        user, _, password = found.group(1).partition(":")
        return {
            **given,
            "nats_url": _CREDENTIALS.sub("//", url),
            "nats_user": unquote(user),
            "nats_password": unquote(password),
        }

    @property
    def nats_servers(self) -> list[str]:
        """The servers in `nats_url`: one, or several of one cluster with commas in between."""
        return [url.strip() for url in self.nats_url.split(",")]


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


def _check_no_password(url: str) -> str:
    if _CREDENTIALS.search(url):
        raise ValueError(
            "it holds a user or password, and MLflow shows its URL in errors: "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )
    return url


# Of MLflow. Its user and password go to its client and to our children by MLflow's own variables.
MlflowUrl = Annotated[str, AfterValidator(_check_no_password)]
