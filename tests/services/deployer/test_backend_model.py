"""The file that runs inside Triton, without Triton: what it does with batches. With Triton: `tests/integration`."""

import importlib.util
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from services.deployer.adapters.triton import BACKEND


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # Triton's stub process brings this module; nothing of it is called here.
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("triton_python_backend_utils"))
    spec = importlib.util.spec_from_file_location("pushed_model", BACKEND)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Means:
    """Answers the mean pixel; refuses a batch with a pixel of 13 in it, as a real model may refuse an image."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        self.batches.append(tuple(images.shape))
        if (images == 13).any():
            raise ValueError("unlucky")
        means = images.double().mean(dim=(1, 2, 3))
        return torch.stack([means, 1 - means], 1), images[:, 0, ::2, ::2].double(), means[:, None]


def image(value: int, side: int = 4, count: int = 1) -> Tensor:
    return torch.full((count, 3, side, side), value, dtype=torch.uint8)


def test_requests_of_one_shape_share_a_pass_and_answers_keep_their_order(backend: ModuleType) -> None:
    forward = Means()
    answers = backend.answer_all(forward, [image(1), image(2, side=6), image(3, count=2), image(4, side=6)])
    assert forward.batches == [(3, 3, 4, 4), (2, 3, 6, 6)]
    assert [embedding.tolist() for _, _, embedding in answers] == [[[1]], [[2]], [[3], [3]], [[4]]]
    assert [tuple(heat_map.shape) for _, heat_map, _ in answers] == [(1, 2, 2), (1, 3, 3), (2, 2, 2), (1, 3, 3)]
    assert {output.dtype for answer in answers for output in answer} == {torch.float32}
    assert all(output.is_contiguous() for answer in answers for output in answer)


def test_bad_request_fails_alone(backend: ModuleType) -> None:
    forward = Means()
    good, bad, other = backend.answer_all(forward, [image(1), image(13), image(2)])
    assert isinstance(bad, ValueError)
    assert (good[2].item(), other[2].item()) == (1, 2)
    assert len(forward.batches) == 4


def test_model_with_other_outputs_is_an_error(backend: ModuleType) -> None:
    (answer,) = backend.answer_all(lambda images: (images.float(),), [image(1)])
    assert isinstance(answer, ValueError)
    assert "1 images need 3 outputs" in str(answer)
