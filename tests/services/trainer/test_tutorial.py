import io
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from services.chassis.blobs import Blobs
from services.chassis.images import decode, shrink
from services.chassis.manifest import read_manifest
from services.chassis.recipes import NotARecipe, checked
from services.trainer.dataset import COLUMNS, Dataset
from services.trainer.recipes.parameters import Tutorial
from services.trainer.recipes.recipe import Context, MadeModel
from services.trainer.recipes.tutorial import dense_layer, train
from tests.manifests import two_corners

PARAMETERS = checked("tutorial", {"image_px": 64, "max_side": 40})


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs(str(tmp_path_factory.mktemp("blobs")))


@pytest.fixture(scope="module")
def dataset(blobs: Blobs) -> Dataset:
    return Dataset.of(read_manifest(blobs.read(two_corners(blobs).uri), COLUMNS).to_pylist(), ("upper", "lower"))


def made(blobs: Blobs, dataset: Dataset, root: Path, seed: int = 0) -> MadeModel:
    return train(dataset, PARAMETERS, Context(blobs, str(root / "kept"), seed, lambda *_: None))


def test_it_tells_unseen_images_apart_and_the_seed_makes_the_model(
    blobs: Blobs, dataset: Dataset, tmp_path: Path
) -> None:
    first = made(blobs, dataset, tmp_path)
    model = torch.jit.load(io.BytesIO(first.model))
    right = 0
    for example in dataset.of_split("test"):
        with torch.inference_mode():
            answer = model(torch.from_numpy(shrink(decode(blobs.read(example.uri)), 40))[None])[0][0]
        right += int(answer.argmax()) == example.label
    assert right >= 0.75 * len(dataset.of_split("test"))
    assert made(blobs, dataset, tmp_path).model == first.model
    assert made(blobs, dataset, tmp_path, seed=1).model != first.model


def test_it_is_the_published_recipe(tmp_path: Path) -> None:
    chance = torch.Generator().manual_seed(0)
    features, labels = torch.rand(32, 10, generator=chance), torch.arange(32) % 2
    context = Context(Blobs(str(tmp_path)), "", 5, lambda *_: None)
    found, _ = dense_layer(features, labels, 2, Tutorial(), context)

    chance = torch.Generator().manual_seed(5)
    bound = (6 / 12) ** 0.5
    weight, bias = (2 * torch.rand(2, 10, generator=chance) - 1) * bound, torch.zeros(2)
    speeds = [torch.zeros(2, 10), torch.zeros(2)]
    for epoch in range(25):
        rate = 0.01 / 5 ** ((epoch >= 10) + (epoch >= 20))
        for batch in torch.randperm(32, generator=chance).split(8):
            error = torch.softmax(features[batch] @ weight.T + bias, dim=1) - F.one_hot(labels[batch], 2)
            speeds[0] = 0.9 * speeds[0] + error.T @ features[batch] / 8
            speeds[1] = 0.9 * speeds[1] + error.mean(dim=0)
            weight, bias = weight - rate * speeds[0], bias - rate * speeds[1]
    torch.testing.assert_close(found.weight.detach(), weight, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.bias.detach(), bias, atol=1e-5, rtol=1e-4)


def test_a_wrong_parameter_is_refused_when_it_is_requested() -> None:
    with pytest.raises(NotARecipe, match="momentum"):
        checked("tutorial", {"momentum": 1.5})
