import io
from pathlib import Path

import numpy as np
import pytest
import torch

from services.chassis.blobs import Blobs
from services.chassis.errors import Rejected
from services.chassis.images import encode_png
from services.chassis.recipes import checked, recipe
from services.trainer.dataset import Dataset, Example, Split
from services.trainer.exporting import check
from services.trainer.recipes.anomaly import train
from services.trainer.recipes.patches import coreset
from services.trainer.recipes.recipe import Context, MadeModel

PARAMETERS = checked("anomaly", {"image_px": 64, "max_side": 64})
SIDE = 64


def part(number: int, scratched: bool) -> np.ndarray:
    """uint8 [64, 64]: a striped part with noise, and a bright patch in its lower right corner where it is bad."""
    chance = np.random.default_rng([number, int(scratched)])
    pixels = np.full((SIDE, SIDE), 60) + 40 * (np.arange(SIDE) // 8 % 2)[:, None] + chance.integers(0, 12, (SIDE, SIDE))
    if scratched:
        pixels[40:56, 40:56] = chance.integers(0, 256, (16, 16))
    return pixels.astype(np.uint8)


def examples(blobs: Blobs, split: Split, numbers: range, bad: int = 0) -> list[Example]:
    found = []
    for label, count in ((0, len(numbers)), (1, bad)):
        for number in list(numbers)[:count]:
            image = blobs.put(encode_png(part(number, bool(label))), "png")
            found.append(Example(image.sha256, image.uri, label, split, SIDE, SIDE))
    return found


def made_of(root: Path, blobs: Blobs, *known: list[Example], seed: int = 0) -> MadeModel:
    dataset = Dataset(
        ("good", "bad"), tuple(sorted((one for some in known for one in some), key=lambda one: one.sha256))
    )
    return train(dataset, PARAMETERS, Context(blobs, str(root / "kept"), seed, lambda *_: None))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainer")


@pytest.fixture(scope="module")
def blobs(root: Path) -> Blobs:
    return Blobs(str(root / "blobs"))


@pytest.fixture(scope="module")
def made(root: Path, blobs: Blobs) -> MadeModel:
    return made_of(root, blobs, examples(blobs, "train", range(24)), examples(blobs, "validation", range(30, 40)))


def answer(made: MadeModel, number: int, scratched: bool) -> tuple[np.ndarray, np.ndarray]:
    image = torch.from_numpy(part(number, scratched))[None, None].expand(1, 3, -1, -1)
    with torch.inference_mode():
        probabilities, heat, embedding = torch.jit.load(io.BytesIO(made.model))(image)
    assert embedding.shape == (1, 320)
    return probabilities[0].numpy(), heat[0].numpy()


def test_from_good_parts_alone_it_learns_to_tell_bad_ones_and_where(made: MadeModel) -> None:
    for number in range(50, 56):
        probabilities, heat = answer(made, number, scratched=True)
        assert probabilities[1] > 0.5
        assert heat.shape == (4, 4)
        assert 0 <= heat.min() <= heat.max() <= 1
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert row >= 2
        assert column >= 2
    good = [answer(made, number, scratched=False)[0] for number in range(60, 70)]
    assert sum(int(probabilities[0] > 0.5) for probabilities in good) >= 8
    np.testing.assert_allclose([probabilities.sum() for probabilities in good], 1.0, rtol=1e-5)


def test_without_validation_its_limit_is_found_on_parts_that_it_does_not_remember(root: Path, blobs: Blobs) -> None:
    made = made_of(root, blobs, examples(blobs, "train", range(24)))
    assert made.validated is None
    assert answer(made, 50, scratched=True)[0][1] > 0.5
    assert sum(answer(made, number, scratched=False)[0][0] > 0.5 for number in range(60, 70)) >= 8


def test_bad_parts_in_validation_settle_how_sure_it_is(root: Path, blobs: Blobs) -> None:
    made = made_of(
        root, blobs, examples(blobs, "train", range(24)), examples(blobs, "validation", range(30, 40), bad=6)
    )
    assert made.metrics["validation_accuracy"] == 1.0
    assert made.metrics["validation_log_loss"] < 0.3
    assert made.validated
    assert made.validated.probabilities.shape == (16, 2)


def test_the_same_seed_gives_the_same_bytes(made: MadeModel, root: Path, blobs: Blobs) -> None:
    known = (examples(blobs, "train", range(24)), examples(blobs, "validation", range(30, 40)))
    assert made_of(root, blobs, *known).model == made.model
    assert made_of(root, blobs, *known, seed=1).model != made.model


def test_what_it_cannot_learn_from_is_refused_in_words(root: Path, blobs: Blobs) -> None:
    assert not recipe("anomaly").every_class
    with pytest.raises(Rejected, match="one image of good is not enough"):
        made_of(root, blobs, examples(blobs, "train", range(1)))
    three = Dataset(("good", "bad", "dirty"), tuple(examples(blobs, "train", range(3))))
    with pytest.raises(Rejected, match="give it two, the good one first"):
        train(three, PARAMETERS, Context(blobs, str(root / "kept"), 0, lambda *_: None))


def test_a_coreset_leaves_no_patch_far_from_it() -> None:
    chance = torch.Generator().manual_seed(0)
    corners = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    crowd = torch.cat([corner + torch.rand(50, 2, generator=chance) for corner in corners])
    chosen = crowd[coreset(crowd, 4, chance)]
    assert float(torch.cdist(crowd, chosen).amin(dim=1).max()) < 1.5
    assert len(coreset(crowd, 1000, chance)) == 200


def test_the_file_answers_as_every_server_expects(made: MadeModel) -> None:
    check(made, "anomaly", 2)
