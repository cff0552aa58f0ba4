"""Triton Python-backend model that serves a TorchScript file: the deployer pushes it beside `1/model.pt`.

It runs inside Triton's stub process, never in a service. Triton hands over requests; those of equal shape are answered
by one forward pass. Tensors go through DLPack both ways: with numpy 2, `pb_utils.Tensor(name, array)` answers an empty
tensor without an error.
"""

import json
import os

# Threads that wait for each other by spinning take the cores from whoever they wait for: beside other busy processes
# a pass took 38 ms instead of 1.7 (two cores). Read once, when torch loads OpenMP.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import triton_python_backend_utils as pb_utils
from torch import Tensor
from torch.utils.dlpack import from_dlpack, to_dlpack

INPUT = "INPUT__0"
OUTPUTS = ("OUTPUT__0", "OUTPUT__1", "OUTPUT__2")

Outputs = tuple[Tensor, ...]
Forward = Callable[[Tensor], Outputs]


def answer_all(forward: Forward, inputs: Sequence[Tensor]) -> list[Outputs | Exception]:
    """The outputs for each of `inputs` (uint8 [n, 3, H, W], n may differ), in order; inputs of one shape share a pass.

    Where a shared pass fails each of its inputs is tried alone, so that only what is bad itself gets an exception.
    """
    answers: list[Outputs | Exception] = [RuntimeError("not answered")] * len(inputs)
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, images in enumerate(inputs):
        groups.setdefault(tuple(images.shape[1:]), []).append(index)
    for group in groups.values():
        shared = _answer_together(forward, [inputs[index] for index in group])
        for position, index in enumerate(group):
            if not isinstance(shared, Exception):
                answers[index] = shared[position]
            elif len(group) == 1:
                answers[index] = shared
            else:
                alone = _answer_together(forward, [inputs[index]])
                answers[index] = alone if isinstance(alone, Exception) else alone[0]
    return answers


def _answer_together(forward: Forward, inputs: Sequence[Tensor]) -> list[Outputs] | Exception:
    """One pass over inputs of one shape, its outputs split again as the inputs were. What it raises is returned."""
    lengths = [len(images) for images in inputs]
    try:
        outputs = forward(inputs[0] if len(inputs) == 1 else torch.cat(list(inputs)))
        if len(outputs) != len(OUTPUTS) or any(len(output) != sum(lengths) for output in outputs):
            found = [tuple(output.shape) for output in outputs]
            raise ValueError(
                f"{sum(lengths)} images need {len(OUTPUTS)} outputs of as many rows, the model gave {found}"
            )
        parts = [output.float().contiguous().split(lengths) for output in outputs]
    except Exception as error:  # whatever a model file can raise is this request's answer, not the end of the process
        return error
    return list(zip(*parts, strict=True))


class TritonPythonModel:
    """What Triton's stub looks for in this file."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load `model.pt` beside this file and run it once, so that the first request is not slow."""
        parameters = {
            key: value["string_value"] for key, value in json.loads(args["model_config"])["parameters"].items()
        }
        torch.set_num_threads(int(parameters.get("threads", 0)) or len(os.sched_getaffinity(0)))
        torch.set_num_interop_threads(1)
        # No kernels specialised to the shapes seen: batch sizes vary, and each new one would stop to compile again.
        torch.jit.set_fusion_strategy([])
        self._model = torch.jit.load(str(Path(__file__).with_name("model.pt")), map_location="cpu").eval()
        side = int(parameters["warm_up_side"])
        for count in (1, 2):
            outputs = _answer_together(self._forward, [torch.zeros((count, 3, side, side), dtype=torch.uint8)])
            if isinstance(outputs, Exception):
                raise outputs

    def execute(self, requests: list["pb_utils.InferenceRequest"]) -> list["pb_utils.InferenceResponse"]:
        """Answer a batch of requests, each for itself."""
        inputs = [from_dlpack(pb_utils.get_input_tensor_by_name(request, INPUT).to_dlpack()) for request in requests]
        return [_response(answer) for answer in answer_all(self._forward, inputs)]

    def _forward(self, images: Tensor) -> Outputs:
        with torch.inference_mode():
            return tuple(self._model(images))


def _response(answer: Outputs | Exception) -> "pb_utils.InferenceResponse":
    if isinstance(answer, Exception):
        # INVALID_ARG tells the caller that the image is at fault: no other node would answer it.
        error = pb_utils.TritonError(f"{type(answer).__name__}: {answer}", pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse(output_tensors=[], error=error)
    tensors = [pb_utils.Tensor.from_dlpack(name, to_dlpack(part)) for name, part in zip(OUTPUTS, answer, strict=True)]
    return pb_utils.InferenceResponse(output_tensors=tensors)
