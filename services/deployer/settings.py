"""What the deployer is told by its environment."""

import json
import re
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from services.chassis.settings import Settings

_ADDRESS = re.compile(r"[^\s:/=,]+:[0-9]{1,5}")


class DeployerSettings(Settings):
    """`LOOPLINE_…` variables. `LOOPLINE_TRITON_NODES`: `name=host:port,name=host:port` (gRPC), or JSON."""

    triton_nodes: Annotated[dict[str, str], NoDecode] = Field(default={"local": "127.0.0.1:8001"}, min_length=1)
    triton_load_timeout_s: float = 120
    triton_call_timeout_s: float = 30
    triton_threads: int = Field(
        default=0, ge=0, description="Of torch, for each model on a node; 0 is one for each core"
    )
    reconcile_period_s: float = 5

    @field_validator("triton_nodes", mode="before")
    @classmethod
    def _read_nodes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("{"):
            return json.loads(value)
        return dict(part.strip().partition("=")[::2] for part in value.split(",") if part.strip())

    @field_validator("triton_nodes")
    @classmethod
    def _check_addresses(cls, nodes: dict[str, str]) -> dict[str, str]:
        for name, address in nodes.items():
            if not name or not _ADDRESS.fullmatch(address):
                raise ValueError(f"{name}={address} is not a node: write name=host:port, as in local=127.0.0.1:8001")
        return nodes
