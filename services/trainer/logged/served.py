"""Loads a model of Loopline for MLflow. A copy lies beside each model, so that nothing of Loopline is needed to use it.

mlflow.pyfunc.load_model("runs:/RUN").predict(images), with images uint8 [N, 3, H, W]
"""

from typing import Any

import torch


class Served:
    """uint8 [N, 3, H, W] in; `probabilities` [N, C], `heat_map` [N, h, w] and `embedding` [N, D] out, float32."""

    def __init__(self, path: str) -> None:
        self._model = torch.jit.load(path, map_location="cpu").eval()

    def predict(self, images: Any, params: Any = None) -> dict[str, Any]:
        """As numpy arrays. Takes a numpy array."""
        with torch.inference_mode():
            answer = self._model(torch.as_tensor(images))
        return dict(zip(("probabilities", "heat_map", "embedding"), (part.numpy() for part in answer), strict=True))


def _load_pyfunc(data_path: str) -> Served:
    return Served(data_path)
