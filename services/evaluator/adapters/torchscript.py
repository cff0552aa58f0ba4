"""A model as the predictor's node runs it: TorchScript on raw pixels."""

import io

import numpy as np
import torch
from numpy.typing import NDArray

from services.chassis.errors import Rejected

Pixels = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

# What half precision leaves of a sum of 1.
_OFF_BY = 1e-3


class BadModel(Rejected):
    """This model cannot be asked, and will never be; the text says why."""


class TorchScript:
    """The model in these bytes, which is to know `classes` classes; `name` is what errors call it.

    Raises:
        BadModel: the bytes are no TorchScript.
    """

    def __init__(self, data: bytes, name: str, classes: int) -> None:
        self._name = name
        self._classes = classes
        try:
            self._model = torch.jit.load(io.BytesIO(data), map_location="cpu")
        except (torch.jit.Error, RuntimeError, ValueError) as error:
            raise BadModel(f"{name} is no TorchScript file that can be loaded ({_last_line(error)})") from error

    def answer(self, images: Pixels) -> Probabilities:
        """uint8 [N, 3, H, W] -> probabilities float32 [N, C].

        Raises:
            BadModel: the model fails, or its first output is not such probabilities.
        """
        # Unprofiled: the optimiser finds nothing on a CPU, and costs the first calls of each shape half a second.
        with torch.inference_mode(), torch.jit.optimized_execution(False):
            try:
                outputs = self._model(torch.from_numpy(images))
            except (torch.jit.Error, RuntimeError, AttributeError, TypeError) as error:
                raise BadModel(f"{self._name} fails when asked ({_last_line(error)})") from error
        found = outputs[0] if isinstance(outputs, tuple | list) and outputs else outputs
        if not isinstance(found, torch.Tensor) or tuple(found.shape) != (len(images), self._classes):
            what = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise BadModel(
                f"{self._name} does not answer probabilities [{len(images)}, {self._classes}] first, but {what}"
            )
        answers: Probabilities = found.to(torch.float32).numpy()
        if not np.isfinite(answers).all():
            raise BadModel(f"{self._name} answers numbers that are not finite (NaN or infinite)")
        if answers.min() < -_OFF_BY or np.abs(answers.sum(axis=1) - 1).max() > _OFF_BY:
            raise BadModel(f"{self._name} answers no probabilities (some are negative, or they do not add up to 1)")
        return answers


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
