"""A model is held to its word before anybody hears of it."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from services.chassis.errors import Rejected
from services.trainer.exporting import check, with_archive
from services.trainer.recipes.recipe import MadeModel
from tests.chaos.tiny import Tiny

NETWORK = Tiny(20.0).eval()
IMAGES = [np.random.default_rng(number).integers(0, 255, (3, 32, 32), dtype=np.uint8) for number in range(3)]


def scripted(module: nn.Module) -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(module), out)
    return out.getvalue()


def golden(images: list[Any], answer: Callable[[Tensor], Any] = NETWORK) -> bytes:
    with torch.inference_mode():
        said = np.concatenate([answer(torch.from_numpy(image[None]))[0].numpy() for image in images])
    out = io.BytesIO()
    arrays: dict[str, Any] = {f"image_{place}": image for place, image in enumerate(images)}
    np.savez(out, probabilities=said, **arrays)
    return out.getvalue()


MADE = MadeModel(scripted(NETWORK), golden(IMAGES), {}, 32, eager=NETWORK)


def test_a_model_that_answers_as_it_was_trained_passes() -> None:
    check(MADE, "mine", 2)
    check(replace(MADE, eager=None), "mine", 2)


def test_an_export_that_answers_the_same_passes_and_another_does_not() -> None:
    def exported(network: nn.Module) -> bytes:
        out = io.BytesIO()
        batch = torch.export.Dim("batch", min=1, max=64)
        example = torch.from_numpy(np.stack(IMAGES))
        torch.export.save(torch.export.export(network, (example,), dynamic_shapes=({0: batch},)), out)
        return out.getvalue()

    check(replace(MADE, exported=exported(NETWORK)), "mine", 2)
    with pytest.raises(Rejected, match=r"differs by .* from torch.export, in a batch of 1"):
        check(replace(MADE, exported=exported(Tiny(21.0).eval())), "mine", 2)


class Undecided(Tiny):
    """Looks at what it computes to choose the way: torch.export takes no such network."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = super().forward(images)
        return found if float(found[0].sum()) > 0 else (found[0], found[1] * 0, found[2])


@pytest.mark.parametrize("eager", [None, NETWORK.forward, Undecided(20.0).eval()])
def test_where_no_archive_can_be_made_the_model_stays_and_the_log_says_why(
    eager: Callable[..., Any] | None, caplog: pytest.LogCaptureFixture
) -> None:
    made = replace(MADE, eager=eager)
    assert with_archive(made) == made
    assert "no torch.export archive is kept" in caplog.text


class Otherwise(nn.Module):
    """Answers as the tiny network does, but for one part."""

    def __init__(self, part: int) -> None:
        super().__init__()
        self.tiny = Tiny(20.0)
        self.part = part

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probabilities, heat, embedding = self.tiny(images)
        if self.part == 0:
            probabilities = probabilities * 2
        if self.part == 1:
            heat = heat - 1
        if self.part == 2:
            embedding = embedding.double()
        if self.part == 3:
            heat = heat.flatten(1)
        if self.part == 4:
            embedding = embedding * float("nan")
        if self.part == 5:
            # As one that normalises over the batch.
            embedding = embedding - embedding.mean(0)
        return probabilities, heat, embedding


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        (0, "probabilities do not add up to 1"),
        (1, r"heat map leaves 0\.\.1"),
        (2, "embedding is torch.float64"),
        (3, r"heat map has the shape \(1, 64\) for 1 images"),
        (4, "embedding is no number"),
        (5, "embedding differs by .* from eager"),
    ],
)
def test_what_a_server_could_not_use_is_refused(part: int, complaint: str) -> None:
    module = Otherwise(part).eval()
    with pytest.raises(Rejected, match=f"the recipe mine cannot be served: its {complaint}"):
        check(MadeModel(scripted(module), golden(IMAGES, module), {}, 32, eager=NETWORK), "mine", 2)


def test_golden_answers_of_another_model_are_refused() -> None:
    with pytest.raises(Rejected, match="from its golden answers"):
        check(replace(MADE, golden=golden(IMAGES, Tiny(1.0).eval())), "mine", 2)


@pytest.mark.parametrize("model", [b"", b"PK no model"])
def test_bytes_that_are_no_model_are_refused(model: bytes) -> None:
    with pytest.raises(Rejected, match="cannot be served"):
        check(replace(MADE, model=model), "mine", 2)
