"""What the predictor is told by its environment."""

import json
import os
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from services.chassis.settings import Settings


class PredictorSettings(Settings):
    """`LOOPLINE_…` variables. `LOOPLINE_TRITON_NODES` as for the deployer: the same names for the same nodes."""

    triton_nodes: Annotated[dict[str, str], NoDecode] = Field(default={"local": "127.0.0.1:8001"}, min_length=1)
    triton_deadline_s: float = 15
    decode_threads: int = Field(default=os.cpu_count() or 1, ge=1)

    @field_validator("triton_nodes", mode="before")
    @classmethod
    def _read_nodes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("{"):
            return json.loads(value)
        return dict(part.strip().partition("=")[::2] for part in value.split(",") if part.strip())
