import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.chassis.blobs import Blobs
from services.chassis.errors import Rejected
from services.chassis.images import decode, shrink
from services.chassis.manifest import read_manifest
from services.chassis.recipes import NotARecipe, checked
from services.trainer.dataset import COLUMNS, Dataset
from services.trainer.exporting import check
from services.trainer.recipes.augmentation import augmented, drawn
from services.trainer.recipes.fine_tune import train
from services.trainer.recipes.parameters import FineTune
from services.trainer.recipes.recipe import Context, MadeModel
from tests.manifests import two_corners

SMALL = {"image_px": 48, "max_side": 40, "epochs": 2, "epochs_all": 1, "batch": 8, "views": 2, "flips": "none"}


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs(str(tmp_path_factory.mktemp("blobs")))


@pytest.fixture(scope="module")
def dataset(blobs: Blobs) -> Dataset:
    return Dataset.of(read_manifest(blobs.read(two_corners(blobs).uri), COLUMNS).to_pylist(), ("upper", "lower"))


class Killed(Exception):
    pass


class Kept:
    """A checkpoint in memory. Once it is `deadly`, whoever saves dies of it."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.deadly = False

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data
        if self.deadly:
            raise Killed


def context(blobs: Blobs, root: Path, kept: Kept, die_after: int = 0, seed: int = 3) -> tuple[Context, list[int]]:
    epochs: list[int] = []

    def log_epoch(done: int, metrics: Mapping[str, float]) -> None:
        epochs.append(done)
        if done == die_after:
            raise Killed

    return Context(blobs, str(root / "kept"), seed, lambda *_: None, kept, log_epoch), epochs


def parameters(**other: Any) -> dict[str, Any]:
    return checked("fine-tune", {**SMALL, **other})


@pytest.fixture(scope="module")
def made(blobs: Blobs, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> MadeModel:
    where, _ = context(blobs, tmp_path_factory.mktemp("trainer"), Kept())
    return train(dataset, parameters(), where)


def test_it_tells_unseen_images_apart_and_says_of_validation_what_the_file_answers(
    made: MadeModel, blobs: Blobs, dataset: Dataset
) -> None:
    model = torch.jit.load(io.BytesIO(made.model))

    def answer(uri: str) -> torch.Tensor:
        with torch.inference_mode():
            return model(torch.from_numpy(shrink(decode(blobs.read(uri)), made.max_side))[None])[0][0]

    test = dataset.of_split("test")
    assert sum(int(answer(one.uri).argmax()) == one.label for one in test) >= 0.8 * len(test)
    assert made.validated
    for example, expected in zip(made.validated.examples, made.validated.probabilities, strict=True):
        np.testing.assert_allclose(answer(example.uri).numpy(), expected, atol=1e-4)


def test_killed_after_any_epoch_it_goes_on_to_the_same_bytes(
    made: MadeModel, blobs: Blobs, dataset: Dataset, tmp_path: Path
) -> None:
    kept = Kept()
    where, epochs = context(blobs, tmp_path, kept, die_after=1)
    with pytest.raises(Killed):
        train(dataset, parameters(), where)
    kept.deadly = True
    # What was said and not saved is done and said again.
    for last in (1, 2, 3):
        where, epochs = context(blobs, tmp_path, kept)
        with pytest.raises(Killed):
            train(dataset, parameters(), where)
        assert epochs == [last]
    kept.deadly = False
    where, epochs = context(blobs, tmp_path, kept)
    again = train(dataset, parameters(), where)
    assert epochs == []
    assert (again.model, again.golden, again.metrics) == (made.model, made.golden, made.metrics)


def test_another_seed_gives_another_model(made: MadeModel, blobs: Blobs, dataset: Dataset, tmp_path: Path) -> None:
    where, _ = context(blobs, tmp_path, Kept(), seed=4)
    assert train(dataset, parameters(), where).model != made.model


def test_a_loss_that_is_no_number_is_an_answer_and_not_a_crash(blobs: Blobs, dataset: Dataset, tmp_path: Path) -> None:
    where, _ = context(blobs, tmp_path, Kept())
    with pytest.raises(Rejected, match=r"the loss is not a number in epoch \d+: ask for a smaller lr than 1"):
        train(dataset, parameters(lr=1.0, weight_decay=10.0, epochs=30), where)


def test_augmentation_comes_from_its_chance_alone_and_can_be_left_out() -> None:
    x = torch.rand(3, 3, 20, 20, generator=torch.Generator().manual_seed(0))

    def changed(seed: int, **chosen: Any) -> torch.Tensor:
        return augmented(x, drawn(3, 20, FineTune(**chosen), torch.Generator().manual_seed(seed)))

    assert torch.equal(changed(1, shift=0.2), changed(1, shift=0.2))
    assert not torch.equal(changed(1, shift=0.2), changed(2, shift=0.2))
    torch.testing.assert_close(changed(1, flips="none", shift=0, brightness=0), x)
    flipped = changed(5, flips="both", shift=0, brightness=0)
    torch.testing.assert_close(flipped.sum(dim=(2, 3)), x.sum(dim=(2, 3)))


def test_a_wrong_parameter_is_refused_when_it_is_requested() -> None:
    with pytest.raises(NotARecipe, match=r"epochs: .*greater than or equal to 1"):
        checked("fine-tune", {"epochs": 0})
    with pytest.raises(NotARecipe, match="It knows"):
        checked("fine-tune", {"learning_rate": 0.1})


def test_the_file_answers_as_the_network_it_was_made_of(made: MadeModel) -> None:
    assert made.eager
    check(made, "fine-tune", 2)
