"""The statistics of the watch: on numbers whose answer is known, and on real pictures through the real extractor."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from contracts.project import Watch
from services.chassis.sketches import sketch, unsketched
from services.evaluator.drift import Answers, accuracy, classes, confidence, inputs

ALPHA = 1 / 4000
Sketches = NDArray[np.float32]
Change = Callable[[Image.Image], Image.Image]


def of(sketches: Sketches) -> Answers:
    return Answers(sketches, ("a",) * len(sketches), np.zeros(len(sketches)))


def told(labels: str, sure: NDArray[np.float64] | None = None) -> Answers:
    """Answers by their labels, a letter each."""
    return Answers(
        np.full((len(labels), 2), np.nan, np.float32), tuple(labels), np.zeros(len(labels)) if sure is None else sure
    )


def test_the_statistic_of_the_inputs_is_the_energy_coefficient() -> None:
    random = np.random.default_rng(0)
    before, after = random.normal(size=(40, 3)), random.normal(1, 1, (30, 3))

    def mean(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        return float(np.mean([[np.linalg.norm(a - b) for b in other] for a in one]))

    across = mean(before, after)
    expected = (2 * across - mean(before, before) - mean(after, after)) / (2 * across)
    found = inputs(of(before.astype(np.float32)), of(after.astype(np.float32)), 0.01, 0)
    assert found
    assert found.statistic == pytest.approx(expected, rel=1e-5)
    assert found.p_value == pytest.approx(1 / 101)


def test_too_few_sketches_say_nothing() -> None:
    full, few = np.zeros((50, 4), np.float32), np.full((50, 4), np.nan, np.float32)
    few[:29] = 0
    assert inputs(of(full), of(few), ALPHA, 0) is None
    assert inputs(of(few), of(full), ALPHA, 0) is None


def test_pictures_that_are_all_the_same_are_no_drift() -> None:
    same = np.ones((50, 4), np.float32)
    found = inputs(of(same), of(same), ALPHA, 0)
    assert found
    assert (found.statistic, found.p_value) == (0.0, 1.0)


def test_a_few_of_a_class_are_no_proof() -> None:
    found = classes(told("a" * 500), told("a" * 198 + "bb"), ALPHA, 0)
    assert found.statistic == pytest.approx(0.01)
    assert found.p_value > 0.01


def test_another_mix_is_found_and_the_class_that_grew_comes_first() -> None:
    found = classes(told("a" * 400 + "b" * 100), told("a" * 100 + "b" * 100), ALPHA, 0)
    assert found.statistic == pytest.approx(0.3)
    assert found.p_value <= ALPHA
    assert set(found.order[:100]) == set(range(100, 200))
    assert classes(told("a" * 50), told("a" * 50), ALPHA, 0).p_value == 1.0


def test_less_sure_answers_are_found_and_the_least_sure_come_first() -> None:
    random = np.random.default_rng(0)
    before, after = random.beta(8, 1, 500), random.beta(3, 1, 200)
    found = confidence(told("a" * 500, before), told("a" * 200, after))
    assert found.p_value <= ALPHA
    assert found.order[0] == int(after.argmin())
    surer = confidence(told("a" * 200, after), told("a" * 500, before))
    assert surer.order[0] == int(before.argmax())


def test_accuracy_has_wilsons_interval_and_an_exact_test() -> None:
    # Wilson 1927; the numbers are those of Newcombe 1998, table I, 81 of 263.
    found = accuracy(81, 263, 0.4)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert found.p_value == pytest.approx(0.0012, abs=2e-4)
    assert accuracy(10, 10, 0.9).p_value == 1.0


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Photographs of solar cells in a fixed random order."""
    from elpv_dataset.utils import load_dataset

    images, _, _ = load_dataset()
    order = np.random.default_rng(0).permutation(len(images))[:360]
    return [Image.fromarray(images[place]) for place in order]


@pytest.fixture(scope="module")
def embed() -> Callable[[list[Image.Image]], Sketches]:
    """Pictures -> sketches [n, 32], through the extractor of the recipe `frozen-features`."""
    import torch

    from services.trainer.recipes.extractor import extractor

    extract = extractor(64)

    def of_pictures(pictures: list[Image.Image]) -> Sketches:
        small = [np.asarray(picture.convert("RGB").resize((64, 64))) for picture in pictures]
        pixels = np.stack(small).transpose(0, 3, 1, 2)
        with torch.inference_mode():
            maps, _ = extract(torch.from_numpy(pixels.copy()))
        embeddings = maps[-1].mean(dim=(2, 3)).numpy()  # as a classifier answers it
        return np.stack([unsketched(sketch(one) or "") for one in embeddings])

    return of_pictures


@pytest.fixture(scope="module")
def plain(pictures: list[Image.Image], embed: Callable[[list[Image.Image]], Sketches]) -> Sketches:
    return np.concatenate([embed(pictures[start : start + 40]) for start in range(0, 360, 40)])


def test_real_pictures_that_have_not_changed_are_not_found(plain: Sketches) -> None:
    """200 divisions of the same pictures: a fair test has a p-value of 5 % or less in some 10 of them."""
    limit = Watch().inputs
    p_values, statistics = [], []
    for seed in range(200):
        order = np.random.default_rng(seed).permutation(len(plain))
        found = inputs(of(plain[order[:240]]), of(plain[order[240:]]), 0.01, seed)
        assert found
        p_values.append(found.p_value)
        statistics.append(found.statistic)
    assert 2 <= sum(p <= 0.05 for p in p_values) <= 20
    assert limit is not None
    assert max(statistics) < limit


def _darker(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(0.5)


def _blurred(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(6))


def _compressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=5)
    return Image.open(file)


def _other_product(picture: Image.Image) -> Image.Image:
    return picture.crop((0, 0, 150, 150)).rotate(45)


@pytest.mark.parametrize("change", [_darker, _blurred, _compressed, _other_product])
def test_real_pictures_that_have_changed_are_found(
    change: Change, pictures: list[Image.Image], plain: Sketches, embed: Callable[[list[Image.Image]], Sketches]
) -> None:
    limit = Watch().inputs
    assert limit is not None
    window = embed([change(picture) for picture in pictures[240:320]])
    found = inputs(of(plain[:240]), of(window), ALPHA, 0)
    assert found
    assert found.p_value <= ALPHA
    assert found.statistic > limit


def test_where_half_of_the_pictures_have_changed_those_are_named(
    pictures: list[Image.Image], plain: Sketches, embed: Callable[[list[Image.Image]], Sketches]
) -> None:
    changed = embed([_other_product(picture) for picture in pictures[280:320]])
    found = inputs(of(plain[:240]), of(np.concatenate([plain[240:280], changed])), ALPHA, 0)
    assert found
    assert sum(place >= 40 for place in found.order[:12]) >= 11
