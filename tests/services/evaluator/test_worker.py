import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from contracts.events.base import BlobRef
from contracts.events.training import TrainedModel
from services.chassis.blobs import Blobs
from services.chassis.errors import Rejected
from services.chassis.images import encode_png
from services.evaluator.job import Compared, Job, Places
from services.evaluator.worker import handle
from tests.manifests import manifest, manifest_of, picture, two_corners


class LooksAtACorner(torch.nn.Module):
    """Column `upper` is the brightness of the upper left corner, `lower` that of the lower right."""

    def __init__(self, upper: int, lower: int, width: int, sees: float) -> None:
        super().__init__()
        self.upper, self.lower, self.width, self.sees = upper, lower, width, sees

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = images.to(torch.float32) / 255.0
        half = x.shape[2] // 2
        logits = torch.zeros(x.shape[0], self.width) - 9.0
        logits[:, self.upper] = x[:, :, :half, :half].mean(dim=(1, 2, 3)) * self.sees
        logits[:, self.lower] = x[:, :, half:, half:].mean(dim=(1, 2, 3)) * self.sees
        return torch.softmax(logits, dim=1), x[:, 0, :2, :2], logits


class Answers(torch.nn.Module):
    """The same numbers for each image, whatever it shows."""

    def __init__(self, numbers: list[float]) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.tensor(numbers))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.numbers.repeat(images.shape[0], 1)


class Raises(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[0] > 0:
            raise ValueError("wants grey images")
        return images


class OnlyLabels(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"labels": images[:, 0, 0, 0]}


def scripted(network: torch.nn.Module) -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(network), out)
    return out.getvalue()


class Surroundings:
    def __init__(self, root: Path) -> None:
        self.blobs = Blobs(str(root / "blobs"))
        self.places = Places(blobs_root=str(root / "blobs"), kept_root=str(root / "kept"))

    def model(self, *classes: str, sees: float = 50.0, data: bytes | None = None) -> TrainedModel:
        """A model that answers `upper` and `lower` by looking; with a negative `sees` it is always wrong."""
        if data is None:
            data = scripted(LooksAtACorner(classes.index("upper"), classes.index("lower"), len(classes), sees))
        file = self.blobs.put(data, "pt")
        return TrainedModel(file=file, golden=file, classes=classes, max_side=48)

    def compare(
        self, manifest: BlobRef, candidate: TrainedModel, champion: TrainedModel | None = None, **asked: Any
    ) -> Compared:
        job = Job(project="solar", manifest=manifest, candidate=candidate, champion=champion, **asked)
        given = {"job": job.model_dump(mode="json"), "places": self.places.model_dump(mode="json")}
        return Compared.model_validate(handle(given, lambda step: None))


@pytest.fixture
def world(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


def test_only_the_test_split_counts_and_the_first_model_stands_alone(world: Surroundings) -> None:
    found = world.compare(two_corners(world.blobs, test=6), world.model("upper", "lower"))
    assert found.shared is None
    assert (found.candidate.test_images, found.candidate.accuracy.value) == (12, 1.0)
    assert found.candidate.confusion == ((6, 0), (0, 6))


def test_classes_in_another_order_are_the_same_classes(world: Surroundings) -> None:
    found = world.compare(two_corners(world.blobs), world.model("upper", "lower"), world.model("lower", "upper"))
    assert found.shared
    assert found.shared.champion
    assert found.shared.champion.accuracy.value == 1.0
    assert [one.label for one in found.shared.champion.classes] == ["upper", "lower"]
    assert found.shared.candidate == found.candidate
    assert found.shared.only_candidate_knows == found.shared.only_champion_knows == ()


def test_models_of_other_classes_are_compared_on_what_both_know(world: Surroundings) -> None:
    grey = np.full((48, 48), 128, np.uint8)
    images = [(grey + index, "grey", "test") for index in range(3)]
    corners = two_corners(world.blobs)
    greys = manifest(world.blobs, images)
    merged = world.blobs.put(_merged(world.blobs.read(corners.uri), world.blobs.read(greys.uri)), "parquet")
    found = world.compare(merged, world.model("upper", "lower", "grey"), world.model("upper", "lower", sees=-50.0))
    assert found.candidate.test_images == 15
    assert found.candidate.classes[2].recall.value == 0.0
    assert found.shared
    assert (found.shared.images, found.shared.only_candidate_knows) == (12, ("grey",))
    assert found.shared.candidate
    assert found.shared.champion
    assert found.shared.candidate.accuracy.value == 1.0
    assert found.shared.champion.accuracy.value == 0.0
    assert found.shared.candidate.model_sha256 == found.candidate.model_sha256 != found.shared.champion.model_sha256


def _merged(*manifests: bytes) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.concat_tables([pq.read_table(io.BytesIO(data)) for data in manifests]), out)
    return out.getvalue()


def test_models_that_share_less_than_two_classes_are_not_compared(world: Surroundings) -> None:
    champion = TrainedModel(**{**world.model("upper", "lower").model_dump(), "classes": ("upper", "other")})
    found = world.compare(two_corners(world.blobs), world.model("upper", "lower"), champion)
    assert found.shared
    assert (found.shared.candidate, found.shared.champion) == (None, None)


def called(model: TrainedModel, *classes: str) -> TrainedModel:
    """The same file with other names for its classes."""
    return model.model_copy(update={"classes": classes})


def test_a_champion_of_other_class_names_is_asked_under_the_names_of_today(world: Surroundings) -> None:
    champion = called(world.model("upper", "lower"), "top", "bottom")
    renamed = {"top": "upper", "bottom": "lower"}
    found = world.compare(two_corners(world.blobs), world.model("upper", "lower"), champion, renamed=renamed)
    assert found.shared
    assert found.shared.only_candidate_knows == found.shared.only_champion_knows == ()
    assert found.shared.champion
    assert [one.label for one in found.shared.champion.classes] == ["upper", "lower"]
    assert found.shared.champion.accuracy.value == 1.0
    older_manifest = world.compare(
        two_corners(world.blobs), called(champion, "above", "below"), renamed={"upper": "above", "lower": "below"}
    )
    assert older_manifest.candidate.accuracy.value == 1.0


def test_classes_that_became_one_are_added_up(world: Surroundings) -> None:
    champion = world.model("upper", "corner", "lower")
    found = world.compare(
        two_corners(world.blobs), world.model("upper", "lower"), champion, renamed={"corner": "lower"}
    )
    assert found.shared
    assert found.shared.champion
    assert [one.label for one in found.shared.champion.classes] == ["upper", "lower"]
    assert found.shared.champion.accuracy.value == 1.0


def test_both_models_are_compared_by_the_metric_asked_for(world: Surroundings) -> None:
    right, wrong = world.model("upper", "lower"), world.model("upper", "lower", sees=-50.0)
    found = world.compare(two_corners(world.blobs, test=10), right, wrong, compare="recall.lower")
    assert found.shared
    assert found.shared.comparison
    comparison = found.shared.comparison
    assert (comparison.metric, comparison.difference, comparison.test) == ("recall.lower", 1.0, "bootstrap")
    assert (comparison.only_candidate_right, comparison.only_champion_right) == (20, 0)


def with_metadata(world: Surroundings, texts: Callable[[int, int], str | None]) -> BlobRef:
    """Ten test images of two classes; `texts` gives the column `slices` of label and number."""
    rows = []
    for label, name in enumerate(("upper", "lower")):
        for number in range(5):
            image = world.blobs.put(encode_png(picture(label, number)), "png")
            rows.append(
                {"sha256": image.sha256, "uri": image.uri, "label": name, "split": "test", "width": 48, "height": 48,
                 "slices": texts(label, number)}
            )  # fmt: skip
    return manifest_of(world.blobs, rows)


def test_slices_come_from_the_metadata_of_the_manifest(world: Surroundings) -> None:
    def text(label: int, number: int) -> str:
        return json.dumps({"camera": number % 2, "line": "a", "box": [1]}) if number else "{}"

    found = world.compare(with_metadata(world, text), world.model("upper", "lower"), slice_metric="recall.upper")
    assert [(one.key, one.value, one.images, one.score.value) for one in found.slices] == [
        ("camera", "0", 2, 1.0),
        ("camera", "1", 2, 1.0),
        ("line", "a", 4, 1.0),
    ]
    chosen = world.compare(with_metadata(world, text), world.model("upper", "lower"), slice_keys=("line",))
    assert [one.key for one in chosen.slices] == ["line"]
    assert world.compare(two_corners(world.blobs), world.model("upper", "lower")).slices == ()


@pytest.mark.parametrize("text", ["{", "[1]", "null"])
def test_metadata_that_is_none_is_refused_in_a_sentence(world: Surroundings, text: str) -> None:
    with pytest.raises(Rejected, match=r"the manifest's slices are no JSON.*freeze a new dataset version"):
        world.compare(with_metadata(world, lambda label, number: text), world.model("upper", "lower"))


def test_an_empty_test_set_has_numbers_that_are_missing(world: Surroundings) -> None:
    found = world.compare(
        two_corners(world.blobs, test=0), world.model("upper", "lower"), world.model("lower", "upper")
    )
    assert (found.candidate.test_images, found.candidate.accuracy.value, found.candidate.calibration) == (0, None, None)
    assert found.shared
    assert found.shared.comparison is None


def test_a_test_set_of_one_class_has_numbers_that_are_missing(world: Surroundings) -> None:
    only = manifest(world.blobs, [(picture(0, number), "upper", "test") for number in range(4)])
    found = world.compare(only, world.model("upper", "lower"), world.model("upper", "lower", sees=-50.0))
    assert (found.candidate.accuracy.value, found.candidate.macro_recall.value) == (1.0, None)
    assert [one.support for one in found.candidate.classes] == [4, 0]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"no model", "is no TorchScript file that can be loaded"),
        (b"", "is no TorchScript file that can be loaded"),
        (scripted(Answers([float("nan"), 1.0])), "answers numbers that are not finite"),
        (scripted(Answers([3.0, -2.0])), r"answers no probabilities \(some are negative"),
        (scripted(Answers([0.5, 0.25, 0.25])), r"does not answer probabilities \[8, 2\] first, but \[8, 3\]"),
        (scripted(OnlyLabels()), r"does not answer probabilities \[8, 2\] first, but dict"),
        (scripted(Raises()), r"fails when asked \(.*wants grey images"),
    ],
)
def test_what_is_no_model_is_refused_in_a_sentence_that_says_what_to_do(
    world: Surroundings, data: bytes, says: str
) -> None:
    bad, good = world.model("upper", "lower", data=data), world.model("upper", "lower")
    with pytest.raises(Rejected, match=f"^the candidate's model file {says}.*: mend what exports it, and train again$"):
        world.compare(two_corners(world.blobs), bad)
    with pytest.raises(
        Rejected, match=f"^the champion's model file {says}.*: nothing can be judged beside it; put its"
    ):
        world.compare(two_corners(world.blobs), good, bad)


def test_what_is_gone_is_named(world: Surroundings) -> None:
    good, corners = world.model("upper", "lower"), two_corners(world.blobs)
    with pytest.raises(Rejected, match="test images of lower, which the candidate does not know: train again on"):
        world.compare(corners, called(good, "upper", "x"))
    gone = BlobRef(uri=f"blob://{'0' * 64}.parquet", sha256="0" * 64, size_bytes=1)
    with pytest.raises(Rejected, match=r"^the dataset's manifest is gone \(.*: freeze a new dataset version$"):
        world.compare(gone, good)
    with pytest.raises(Rejected, match=r"^the champion's model file is gone \(.*make another version the champion$"):
        world.compare(corners, good, good.model_copy(update={"file": gone}))
    rows = [{"sha256": "0" * 64, "uri": gone.uri, "label": "upper", "split": "test", "width": 8, "height": 8}]
    with pytest.raises(Rejected, match="test image 000000000000 is gone, put it back or take its label away"):
        world.compare(manifest_of(world.blobs, rows), good)
