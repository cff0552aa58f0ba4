"""What the deployer is told by its environment."""

from pydantic import Field

from services.chassis.settings import Settings, TritonNodes


class DeployerSettings(Settings):
    """`LOOPLINE_…` variables. `LOOPLINE_TRITON_NODES`: `name=host:port,name=host:port` (gRPC), or JSON."""

    triton_nodes: TritonNodes = Field(default={"local": "127.0.0.1:8001"}, min_length=1)
    triton_load_timeout_s: float = 120
    triton_call_timeout_s: float = 30
    triton_threads: int = Field(
        default=0, ge=0, description="Of torch, for each model on a node; 0 is one for each core"
    )
    reconcile_period_s: float = 5
    # The public keys, Ed25519 in PEM, one of which must have signed whatever is pushed to a node.
    trusted_keys_file: str = ""
