"""The configuration under which Triton serves a version."""

from typing import Any

DIGEST = "model_sha256"
MAX_BATCH_SIZE = 32
_WARM_UP_SIDE_MAX = 320


def model_config(name: str, *, classes: int, max_side: int, digest: str, threads: int = 0) -> dict[str, Any]:
    """Triton's model configuration as JSON: uint8 [3, H, W] of any size in; probabilities, heat map, embedding out.

    Args:
        name: the model's name on the node.
        classes: length of the probabilities.
        max_side: largest side in pixels that the predictor sends; the model is warmed up with an image like that.
        digest: SHA-256 of the model file, by which the deployer sees later that the node has the right bytes.
        threads: of torch; 0 takes one for each core.
    """
    return {
        "name": name,
        "backend": "python",
        "max_batch_size": MAX_BATCH_SIZE,
        "input": [{"name": "INPUT__0", "data_type": "TYPE_UINT8", "dims": [3, -1, -1]}],
        "output": [
            {"name": "OUTPUT__0", "data_type": "TYPE_FP32", "dims": [classes]},
            {"name": "OUTPUT__1", "data_type": "TYPE_FP32", "dims": [-1, -1]},
            {"name": "OUTPUT__2", "data_type": "TYPE_FP32", "dims": [-1]},
        ],
        # Batches grow while the model is busy; a single image waits for nobody. No `default_queue_policy`: with one,
        # bursts stalled for 0.5 to 3 s on 2.51 (triton-inference-server/server#8870); callers bound what they send.
        "dynamic_batching": {},
        "instance_group": [{"kind": "KIND_CPU", "count": 1}],
        "parameters": {
            DIGEST: {"string_value": digest},
            "threads": {"string_value": str(threads)},
            "warm_up_side": {"string_value": str(min(max_side, _WARM_UP_SIDE_MAX))},
        },
    }
