"""What the predictor is told by its environment."""

import os

from pydantic import Field

from services.chassis.settings import Settings, TritonNodes


class PredictorSettings(Settings):
    """`LOOPLINE_…` variables. `LOOPLINE_TRITON_NODES` as for the deployer: the same names for the same nodes."""

    triton_nodes: TritonNodes = Field(default={"local": "127.0.0.1:8001"}, min_length=1)
    triton_deadline_s: float = 15
    decode_threads: int = Field(default=os.cpu_count() or 1, ge=1)
