"""Whether the file that will serve answers as the network that was trained, and as every server expects of a model."""

import io
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.chassis.errors import Rejected
from services.trainer.recipes.recipe import MadeModel

log = logging.getLogger(__name__)

TOLERANCE = 1e-5
_BATCHES = (1, 2, 5)
_PARTS = ("probabilities", "heat map", "embedding")


class NotAsAsked(ValueError):
    """A model answers otherwise than it must; the text says how."""


def check(made: MadeModel, recipe: str, classes: int) -> None:
    """Hold a made model to its word on its golden images, in batches of 1, 2 and 5.

    Raises:
        Rejected: it answers otherwise than it must; the text names what differs, and by how much.
    """
    try:
        images, expected = golden_of(made.golden)
        with torch.inference_mode(), torch.jit.optimized_execution(False):
            _check(made, images, expected, classes)
    except Exception as error:
        # Whatever a recipe's bytes can do: torch and numpy have an error of their own for each.
        raise Rejected(
            f"the model of the recipe {recipe} cannot be served: {error}. Mend the recipe, then ask again"
        ) from error


def with_archive(made: MadeModel) -> MadeModel:
    """With its network as a `torch.export` archive (pt2) of any batch and image size, too, where that can be made.

    Where it cannot, the model serves none the worse: the log says why.
    """
    if made.exported is not None:
        return made
    if not isinstance(made.eager, nn.Module):
        log.warning("no torch.export archive is kept: this recipe gives no network to make one of")
        return made
    images, _ = golden_of(made.golden)
    sizes = {0: torch.export.Dim("n"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    out = io.BytesIO()
    try:
        with torch.no_grad():
            program = torch.export.export(made.eager, (torch.stack([images[0]] * 2),), dynamic_shapes=(sizes,))
        torch.export.save(program, out)
    except Exception as error:
        # Whatever a network has in it that torch.export does not take: an error of its own for each.
        log.warning("no torch.export archive is kept, torch does not make one of this network: %s", error)
        return made
    return replace(made, exported=out.getvalue())


def golden_of(npz: bytes) -> tuple[list[Tensor], NDArray[np.float32]]:
    """The images, uint8 [3, H, W] each, and what is answered to them, float32 [G, C]."""
    with np.load(io.BytesIO(npz), allow_pickle=False) as golden:
        expected = golden["probabilities"]
        return [torch.from_numpy(golden[f"image_{place}"]) for place in range(len(expected))], expected


def _check(made: MadeModel, images: Sequence[Tensor], expected: NDArray[np.float32], classes: int) -> None:
    others: dict[str, Any] = {}
    if made.eager is not None:
        others["eager"] = made.eager
    if made.exported is not None:
        others["torch.export"] = torch.export.load(io.BytesIO(made.exported)).module()
    scripted = torch.jit.load(io.BytesIO(made.model), map_location="cpu").eval()
    alike = [image for image in images if image.shape == images[0].shape]
    for size in _BATCHES:
        batch = torch.stack([alike[place % len(alike)] for place in range(size)])
        answer = scripted(batch)
        _check_shapes(answer, size, classes)
        if size == 1:
            _check_same(answer[:1], [torch.from_numpy(expected[:1])], "its golden answers", _PARTS[:1])
        for name, other in others.items():
            _check_same(answer, other(batch), f"{name}, in a batch of {size}", _PARTS)


def _check_shapes(answer: Any, size: int, classes: int) -> None:
    if not isinstance(answer, tuple | list) or len(answer) != len(_PARTS):
        raise NotAsAsked(f"it must answer {', '.join(_PARTS)}, and answers {type(answer).__name__}")
    wanted = {"probabilities": (size, classes), "heat map": (size, None, None), "embedding": (size, None)}
    for name, tensor in zip(_PARTS, answer, strict=True):
        shape, want = tuple(tensor.shape), wanted[name]
        if len(shape) != len(want) or any(w not in (None, s) for s, w in zip(shape, want, strict=True)):
            raise NotAsAsked(f"its {name} has the shape {shape} for {size} images, not {want}")
        if tensor.dtype != torch.float32:
            raise NotAsAsked(f"its {name} is {tensor.dtype}, not torch.float32")
        if not bool(torch.isfinite(tensor).all()):
            raise NotAsAsked(f"its {name} is no number: the training has diverged, try a smaller learning rate")
    probabilities, heat, _ = answer
    if float((probabilities.sum(dim=1) - 1).abs().max()) > 1e-3 or float(probabilities.min()) < 0:
        raise NotAsAsked("its probabilities do not add up to 1")
    if float(heat.min()) < 0 or float(heat.max()) > 1 + TOLERANCE:
        raise NotAsAsked("its heat map leaves 0..1")


def _check_same(answer: Sequence[Tensor], other: Sequence[Tensor], whose: str, parts: Sequence[str]) -> None:
    for name, one, two in zip(parts, answer, other, strict=True):
        if one.shape != two.shape:
            raise NotAsAsked(f"its {name} has the shape {tuple(one.shape)}, {tuple(two.shape)} by {whose}")
        # An embedding is of any size: what counts is the share of it that differs.
        scale = max(1.0, float(two.abs().max()))
        differs = float((one - two).abs().max()) / scale
        if not differs <= TOLERANCE:
            raise NotAsAsked(f"its {name} differs by {differs:.1g} from {whose}, more than {TOLERANCE:g}")
