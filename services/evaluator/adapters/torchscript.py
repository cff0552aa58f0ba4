"""A model as the predictor's node runs it: TorchScript on raw pixels."""

import io

import numpy as np
import torch
from numpy.typing import NDArray

from services.chassis.errors import Rejected

Pixels = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class TorchScript:
    """The model in these bytes, which is to know `classes` classes.

    Raises:
        Rejected: the bytes are no TorchScript.
    """

    def __init__(self, data: bytes, name: str, classes: int) -> None:
        self._name = name
        self._classes = classes
        try:
            self._model = torch.jit.load(io.BytesIO(data), map_location="cpu")
        except (RuntimeError, ValueError) as error:
            raise Rejected(f"{name} is no TorchScript file that can be loaded: {_first_line(error)}") from error

    def answer(self, images: Pixels) -> Probabilities:
        """uint8 [N, 3, H, W] -> probabilities float32 [N, C].

        Raises:
            Rejected: the model fails, or its first output is not such probabilities.
        """
        # Unprofiled: the optimiser finds nothing on a CPU, and costs the first calls of each shape half a second.
        with torch.inference_mode(), torch.jit.optimized_execution(False):
            try:
                outputs = self._model(torch.from_numpy(images))
            except RuntimeError as error:
                raise Rejected(f"{self._name} cannot answer: {_first_line(error)}") from error
        found = outputs[0] if isinstance(outputs, tuple | list) and outputs else outputs
        if not isinstance(found, torch.Tensor) or tuple(found.shape) != (len(images), self._classes):
            raise Rejected(f"{self._name} does not answer probabilities [{len(images)}, {self._classes}] first")
        answers: Probabilities = found.to(torch.float32).numpy()
        if not np.isfinite(answers).all() or np.abs(answers.sum(axis=1) - 1).max() > 1e-3:
            raise Rejected(f"{self._name} answers numbers that are no probabilities: they do not add up to 1")
        return answers


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
