"""The files that make a run's artifacts an MLflow model: signature, input example, loader, environment."""

import json
import platform
from pathlib import Path

import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from contracts.runs import MODEL_FILE
from services.trainer.exporting import golden_of
from services.trainer.logged import served
from services.trainer.logged.environment import python_env, requirements

_LOADER = "loopline_model"
_EXAMPLE = "input_example.json"
_SERVING_EXAMPLE = "serving_input_example.json"
_EXAMPLE_PX = 32


def mlmodel(run_id: str, golden: bytes, classes: int) -> dict[str, bytes]:
    """Files by name, to lie beside `model.pt`: `mlflow.pyfunc.load_model("runs:/RUN")` then answers."""
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype("uint8"), (-1, 3, -1, -1))]),
        Schema(
            [
                TensorSpec(np.dtype("float32"), (-1, classes), "probabilities"),
                TensorSpec(np.dtype("float32"), (-1, -1, -1), "heat_map"),
                TensorSpec(np.dtype("float32"), (-1, -1), "embedding"),
            ]
        ),
    )
    model = Model(run_id=run_id, signature=signature, model_uuid=run_id)
    model.add_flavor(
        "python_function",
        loader_module=_LOADER,
        code="code",
        data=MODEL_FILE,
        python_version=platform.python_version(),
        env={"virtualenv": "python_env.yaml"},
    )
    model.saved_input_example_info = {
        "artifact_path": _EXAMPLE,
        "type": "ndarray",
        "serving_input_path": _SERVING_EXAMPLE,
    }
    example = _example(golden)
    return {
        "MLmodel": str(model.to_yaml()).encode(),
        f"code/{_LOADER}.py": Path(served.__file__).read_bytes(),
        _EXAMPLE: json.dumps(example).encode(),
        # What `mlflow models serve` takes.
        _SERVING_EXAMPLE: json.dumps({"inputs": example}).encode(),
        "requirements.txt": requirements().encode(),
        "python_env.yaml": python_env().encode(),
    }


def _example(golden: bytes) -> object:
    """The upper left corner of a golden image: an example that people can look through."""
    images, _ = golden_of(golden)
    return images[0][None, :, :_EXAMPLE_PX, :_EXAMPLE_PX].tolist()
