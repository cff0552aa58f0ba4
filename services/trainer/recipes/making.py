"""What every recipe ends with: golden answers, metrics, what the model says of validation."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.chassis.golden import golden_file
from services.trainer.dataset import Example
from services.trainer.recipes.head import accuracy, log_loss
from services.trainer.recipes.kept import pixels
from services.trainer.recipes.recipe import Reading, Validated

GOLDEN = 8


def unprofiled() -> AbstractContextManager[None]:
    """TorchScript as it is: on a CPU its optimiser finds nothing here, and costs the first calls half a second."""
    context: AbstractContextManager[None] = torch.jit.optimized_execution(False)
    return context


def validation_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """What to know of a model from validation; nothing where it has no images."""
    if not len(labels):
        return {}
    return {"validation_accuracy": accuracy(logits, labels), "validation_log_loss": log_loss(logits, labels)}


def validated(examples: Sequence[Example], logits: Tensor) -> Validated | None:
    """What the model says of these validation images; None where there are none."""
    if not examples:
        return None
    probabilities: NDArray[np.float32] = torch.softmax(logits, dim=1).to(torch.float32).numpy()
    return Validated(tuple(examples), probabilities)


def labels_of(examples: Sequence[Example]) -> Tensor:
    """int64 [n]."""
    return torch.tensor([example.label for example in examples], dtype=torch.int64)


def answered(model: torch.jit.ScriptModule, examples: tuple[Example, ...], blobs: Reading, max_side: int) -> bytes:
    """The golden file of a model: what it answers here.

    Each image is asked alone, as a node may be asked.
    """
    images = [pixels(example, blobs, max_side) for example in examples]
    with torch.inference_mode(), unprofiled():
        answers = [model(torch.from_numpy(image)[None])[0][0].numpy() for image in images]
    return golden_file(images, np.stack(answers).astype(np.float32))
