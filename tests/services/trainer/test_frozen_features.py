import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.chassis.blobs import Blobs
from services.chassis.errors import Rejected
from services.chassis.images import decode, shrink
from services.chassis.manifest import read_manifest
from services.chassis.recipes import checked
from services.trainer.dataset import COLUMNS, Dataset
from services.trainer.exporting import check
from services.trainer.recipes.frozen_features import train
from services.trainer.recipes.recipe import Context, MadeModel
from tests.manifests import two_corners

PARAMETERS = checked("frozen-features", {"image_px": 64, "max_side": 40})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainer")


@pytest.fixture(scope="module")
def blobs(root: Path) -> Blobs:
    return Blobs(str(root / "blobs"))


@pytest.fixture(scope="module")
def dataset(blobs: Blobs) -> Dataset:
    return Dataset.of(read_manifest(blobs.read(two_corners(blobs).uri), COLUMNS).to_pylist(), ("upper", "lower"))


@pytest.fixture(scope="module")
def stages() -> list[str]:
    return []


@pytest.fixture(scope="module")
def made(root: Path, blobs: Blobs, dataset: Dataset, stages: list[str]) -> MadeModel:
    context = Context(blobs, str(root / "kept"), 0, lambda stage, *_: stages.append(stage))
    return train(dataset, PARAMETERS, context)


def test_the_model_tells_unseen_images_apart(made: MadeModel, blobs: Blobs, dataset: Dataset) -> None:
    model = torch.jit.load(io.BytesIO(made.model))
    test = dataset.of_split("test")
    right = 0
    for example in test:
        image = torch.from_numpy(shrink(decode(blobs.read(example.uri)), made.max_side))
        with torch.inference_mode():
            right += int(model(image[None])[0].argmax()) == example.label
    assert right >= 0.9 * len(test)
    assert made.metrics["validation_accuracy"] >= 0.7
    assert made.max_side == 40


def test_the_heat_map_is_hottest_where_the_difference_is(made: MadeModel, blobs: Blobs, dataset: Dataset) -> None:
    model = torch.jit.load(io.BytesIO(made.model))
    halves = []
    for example in dataset.of_split("test"):
        with torch.inference_mode():
            _, heat, _ = model(torch.from_numpy(shrink(decode(blobs.read(example.uri)), 40))[None])
        upper_left = heat[0, :2, :2].sum() > heat[0, 2:, 2:].sum()
        halves.append(bool(upper_left) == (example.label == 0))
    assert sum(halves) > 0.7 * len(halves)


def test_golden_images_carry_the_answers_of_the_saved_file(made: MadeModel) -> None:
    golden = np.load(io.BytesIO(made.golden))
    model = torch.jit.load(io.BytesIO(made.model))
    assert golden["probabilities"].shape == (8, 2)
    assert golden["probabilities"].dtype == np.float32
    for place, expected in enumerate(golden["probabilities"]):
        image = golden[f"image_{place}"]
        assert (image.dtype, image.shape) == (np.uint8, (3, 40, 40))
        with torch.inference_mode():
            answer = model(torch.from_numpy(image)[None])[0][0].numpy()
        np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_what_is_said_of_validation_is_what_the_file_answers(made: MadeModel, blobs: Blobs) -> None:
    model = torch.jit.load(io.BytesIO(made.model))
    assert made.validated
    assert {example.split for example in made.validated.examples} == {"validation"}
    for example, expected in zip(made.validated.examples, made.validated.probabilities, strict=True):
        with torch.inference_mode():
            answer = model(torch.from_numpy(shrink(decode(blobs.read(example.uri)), 40))[None])[0][0].numpy()
        np.testing.assert_allclose(answer, expected, atol=1e-4)


def test_a_wrong_label_is_doubted_by_heads_that_have_not_seen_it(root: Path, blobs: Blobs, dataset: Dataset) -> None:
    wrong = dataset.of_split("train")[3]
    mislabelled = Dataset(
        dataset.classes,
        tuple(replace(one, label=1 - one.label) if one == wrong else one for one in dataset.examples),
    )
    made = train(mislabelled, PARAMETERS, Context(blobs, str(root / "kept"), 0, lambda *_: None))
    assert made.doubts
    doubts = np.load(io.BytesIO(made.doubts))
    known = mislabelled.of_split("train", "validation")
    assert doubts["sha256"].tolist() == [one.sha256 for one in known]
    assert doubts["labels"].tolist() == [one.label for one in known]
    assert doubts["classes"].tolist() == ["upper", "lower"]
    assert doubts["probabilities"].dtype == np.float32
    given = doubts["probabilities"][np.arange(len(known)), doubts["labels"]]
    assert known[int(given.argmin())].sha256 == wrong.sha256


def test_doubts_can_be_left_out(root: Path, blobs: Blobs, dataset: Dataset) -> None:
    context = Context(blobs, str(root / "kept"), 0, lambda *_: None)
    assert train(dataset, {**PARAMETERS, "doubts": False}, context).doubts is None


def test_training_again_on_kept_features_gives_the_same_bytes(
    made: MadeModel, stages: list[str], root: Path, blobs: Blobs, dataset: Dataset
) -> None:
    second: list[str] = []
    context = Context(blobs, str(root / "kept"), 1, lambda stage, *_: second.append(stage))
    again = train(dataset, PARAMETERS, context)
    assert (again.model, again.golden, again.metrics, again.doubts) == (
        made.model,
        made.golden,
        made.metrics,
        made.doubts,
    )
    assert "features" in stages
    assert "features" not in second


def test_a_vanished_image_is_an_answer_and_not_a_crash(root: Path, blobs: Blobs, dataset: Dataset) -> None:
    gone = blobs.local_path(dataset.of_split("train")[0].uri)
    assert gone
    hidden = gone.rename(gone.with_suffix(".hidden"))
    try:
        with pytest.raises(Rejected, match="is not in the blob store"):
            train(dataset, PARAMETERS, Context(blobs, str(root / "kept-elsewhere"), 0, lambda *_: None))
    finally:
        hidden.rename(gone)


def test_the_file_answers_as_the_network_it_was_made_of(made: MadeModel) -> None:
    assert made.eager
    check(made, "frozen-features", 2)
