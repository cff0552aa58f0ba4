import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from loopline import Refused, golden
from services.deployer.golden import compare, read

CLASSES = ("upper", "lower")
IMAGES = [np.random.default_rng(seed).integers(0, 256, (3, 48, 40), np.uint8) for seed in range(3)]


class Fine(nn.Module):
    """As every model has to be."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = images.to(torch.float32) / 255.0
        seen = torch.stack([x[:, :, :20].mean(dim=(1, 2, 3)), x[:, :, 20:].mean(dim=(1, 2, 3))], dim=1)
        return torch.softmax(seen, dim=1), x[:, 0, ::8, ::8], seen


class OneSize(Fine):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 48 * 40, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.softmax(self.head(images.flatten(1).float()), dim=1), images[:, 0].float() / 255.0, images.float()


class OneOutput(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.softmax(images.float().mean(dim=(2, 3))[:, :2], dim=1)


class Logits(Fine):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = images.float().mean(dim=(2, 3))[:, :2]
        return seen, images[:, 0].float() / 255.0, seen


class ThreeClasses(Fine):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = images.float().mean(dim=(2, 3))
        return torch.softmax(seen, dim=1), images[:, 0].float() / 255.0, seen


class NotANumber(Fine):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = images.float().mean(dim=(2, 3))[:, :2] / 0.0
        return torch.softmax(seen - seen, dim=1), images[:, 0].float() / 255.0, seen


class HeatOutOfRange(Fine):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = images.float().mean(dim=(2, 3))[:, :2]
        return torch.softmax(seen, dim=1), images[:, 0].float() - 9.0, seen


class HeatOfOneImage(Fine):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = images.float().mean(dim=(2, 3))[:, :2]
        return torch.softmax(seen, dim=1), images[0, 0].float() / 255.0, seen


class Doubles(Fine):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = images.double().mean(dim=(2, 3))[:, :2]
        return torch.softmax(seen, dim=1), images[:, 0].float() / 255.0, seen.float()


class ParameterAsItIs(Fine):
    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Parameter(torch.zeros(2))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.same.expand(images.shape[0], -1)
        return torch.softmax(seen, dim=1), images[:, 0].float() / 255.0, seen


class ByChance(Fine):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = torch.rand(images.shape[0], 2)
        return torch.softmax(seen, dim=1), images[:, 0].float() / 255.0, seen


class OverTheBatch(Fine):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = images.float().mean(dim=(2, 3))[:, :2]
        return (
            torch.softmax(seen - seen.mean(), dim=0) * 0.0 + torch.softmax(seen - seen.amax(dim=0), dim=1),
            (images[:, 0].float() / 255.0),
            seen,
        )


def scripted(module: nn.Module, prepare: Callable[[nn.Module], nn.Module] = nn.Module.eval) -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(prepare(module)), out)
    return out.getvalue()


def tried(model: bytes, **changed: Any) -> bytes:
    return golden(model, IMAGES, CLASSES, **{"max_side": 64, **changed})


def test_what_it_answers_here_is_what_the_deployer_holds_a_node_against() -> None:
    found = read(tried(scripted(Fine())))
    assert len(found.images) == 3
    assert all(np.array_equal(one, other) for one, other in zip(found.images, IMAGES, strict=True))
    with torch.inference_mode():
        answers = np.concatenate([Fine()(torch.from_numpy(image)[None])[0].numpy() for image in IMAGES])
    assert compare(found, answers, CLASSES).problem == ""


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (OneSize, r"fails on uint8 \[.*\]: .*any size: resize them in forward"),
        (OneOutput, r"answers Tensor, not three: probabilities \[N,C\], heat map"),
        (Logits, r"do not add up to 1: end with torch.softmax"),
        (ThreeClasses, r"probabilities came as \[2, 3\], not as \[N,2\] with N = 2"),
        (NotANumber, r"probabilities has numbers that are not finite .*did the training diverge"),
        (HeatOutOfRange, r"the heat map has values from -9 to .*, not in 0..1: clamp"),
        (HeatOfOneImage, r"the heat map came as \[\d+, \d+\], not as \[N,h,w\]"),
        (Doubles, r"probabilities came as torch.float64, not as a float32 tensor"),
        (ParameterAsItIs, r"the embedding requires gradients: call requires_grad_\(False\)"),
        (ByChance, r"answers otherwise when it is asked again: chance has no place"),
        (OverTheBatch, r"answers otherwise when another image is in the batch"),
    ],
)
def test_what_cannot_serve_is_refused_with_what_to_do(module: type[nn.Module], says: str) -> None:
    with pytest.raises(Refused, match=says):
        tried(scripted(module()))


def test_training_mode_and_other_files_are_refused() -> None:
    with pytest.raises(Refused, match=r"in training mode: call eval\(\)"):
        tried(scripted(Fine(), nn.Module.train))
    pickled = io.BytesIO()
    torch.save(Fine().state_dict(), pickled)
    for data in (pickled.getvalue(), b"", b"not a model"):
        with pytest.raises(Refused, match=r"is no TorchScript file: torch\.jit\.save"):
            tried(data)


def test_without_a_picture_nothing_can_be_tried() -> None:
    with pytest.raises(Refused, match="the dataset is empty"):
        golden(scripted(Fine()), [], CLASSES, max_side=64)
