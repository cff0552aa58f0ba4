"""Whether a file is a model that can serve, and what it answers here to a few pictures: its golden file.

Nodes load the very file, and the deployer holds their answers against the golden ones. So this tries what a node will
ask, before anything is said.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loopline.reaching import Refused
from services.chassis.golden import golden_file

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]

# As the evaluator's.
_SUM_TOLERANCE = 1e-3
# Half of what the deployer allows a node.
_TOLERANCE = 5e-4


def golden(model: bytes, images: Sequence[Pixels], classes: Sequence[str], *, max_side: int) -> bytes:
    """Check a TorchScript file and ask it about `images`, each uint8 [3, H, W] and alone.

    Returns:
        Its golden file.

    Raises:
        Refused: it cannot serve; the text says what it does and what it should.
    """
    if not images:
        raise Refused("there is no picture to try the model on: the dataset is empty")
    asked = Asked(model, len(classes))
    # The predictor shrinks to max_side and keeps the shape; a camera's pictures need not be square.
    for height, width in {(max_side, max_side), (max(8, max_side // 2), max_side)}:
        asked(np.zeros((2, 3, height, width), np.uint8))
    alone = np.concatenate([asked(image[np.newaxis]) for image in images])
    if np.abs(asked(images[0][np.newaxis]) - alone[0]).max() > _TOLERANCE:
        raise Refused("the model answers otherwise when it is asked again: chance has no place in forward()")
    for place, image in enumerate(images):
        together = asked(np.stack([image, 255 - image]))[0]
        if np.abs(together - alone[place]).max() > _TOLERANCE:
            raise Refused(
                "the model answers otherwise when another image is in the batch, which any request may have beside it: "
                "normalise each image by itself"
            )
    return golden_file(images, alone)


class Asked:
    """A TorchScript file that is loaded as a node loads it.

    Raises:
        Refused: it is no TorchScript, or in training mode.
    """

    def __init__(self, model: bytes, classes: int) -> None:
        import torch

        self._classes = classes
        try:
            # No pickle is run: TorchScript has its own reader, which knows tensors and its own types only.
            self._model = torch.jit.load(io.BytesIO(model), map_location="cpu")
        except (RuntimeError, ValueError) as error:
            raise Refused(
                "the model is no TorchScript file: torch.jit.save(torch.jit.script(module.eval()), file) makes one "
                f"({_last_line(error)})"
            ) from error
        if self._model.training:
            raise Refused("the model is in training mode: call eval() before torch.jit.script")

    def __call__(self, images: Pixels) -> NDArray[np.float32]:
        """uint8 [N, 3, H, W] -> probabilities float32 [N, C], when the three outputs are as they have to be."""
        import torch

        size = " x ".join(str(side) for side in images.shape)
        with torch.inference_mode(), torch.jit.optimized_execution(False):
            try:
                outputs = self._model(torch.from_numpy(images))
            except Exception as error:
                raise Refused(
                    f"the model fails on uint8 [{size}]: {_last_line(error)}. It has to take images of any size: "
                    "resize them in forward()"
                ) from error
        if not isinstance(outputs, tuple | list) or len(outputs) != 3:
            found = f"{len(outputs)} outputs" if isinstance(outputs, tuple | list) else type(outputs).__name__
            raise Refused(
                f"the model answers {found}, not three: probabilities [N,C], heat map [N,h,w], embedding [N,D]"
            )
        count = len(images)
        probabilities = _tensor(outputs[0], "probabilities", (count, self._classes), f"[N,{self._classes}]")
        heat_map = _tensor(outputs[1], "the heat map", (count, None, None), "[N,h,w]")
        _tensor(outputs[2], "the embedding", (count, None), "[N,D]")
        if probabilities.min() < -_SUM_TOLERANCE or np.abs(probabilities.sum(axis=1) - 1).max() > _SUM_TOLERANCE:
            raise Refused("the probabilities of an image do not add up to 1: end with torch.softmax(logits, dim=1)")
        if heat_map.min() < -_SUM_TOLERANCE or heat_map.max() > 1 + _SUM_TOLERANCE:
            raise Refused(
                f"the heat map has values from {heat_map.min():.3g} to {heat_map.max():.3g}, not in 0..1: "
                "clamp its negative part and divide by its maximum"
            )
        return probabilities


def _tensor(output: "Tensor", name: str, shape: tuple[int | None, ...], wanted: str) -> NDArray[np.float32]:
    import torch

    if not isinstance(output, torch.Tensor) or output.dtype != torch.float32:
        found = output.dtype if isinstance(output, torch.Tensor) else type(output).__name__
        raise Refused(f"{name} came as {found}, not as a float32 tensor {wanted}")
    fits = output.dim() == len(shape) and all(
        length == (should or length) and length > 0 for length, should in zip(output.shape, shape, strict=True)
    )
    if not fits:
        raise Refused(f"{name} came as {list(output.shape)}, not as {wanted} with N = {shape[0]}")
    if output.requires_grad:  # a view of a parameter does, even where nothing is recorded, and a node cannot send it
        raise Refused(f"{name} requires gradients: call requires_grad_(False) on the module before torch.jit.script")
    array: NDArray[np.float32] = output.numpy()
    if not np.isfinite(array).all():
        raise Refused(f"{name} has numbers that are not finite (NaN or infinite): did the training diverge?")
    return array


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
