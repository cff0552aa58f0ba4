import io
from pathlib import Path

import numpy as np
import pytest
import torch

from contracts.events.base import BlobRef
from contracts.events.training import TrainedModel
from services.chassis.blobs import Blobs
from services.chassis.errors import Rejected
from services.evaluator.job import Compared, Job, Places
from services.evaluator.worker import handle
from tests.manifests import manifest, two_corners


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


class Surroundings:
    def __init__(self, root: Path) -> None:
        self.blobs = Blobs(str(root / "blobs"))
        self.places = Places(blobs_root=str(root / "blobs"), kept_root=str(root / "kept"))

    def model(self, *classes: str, sees: float = 50.0, data: bytes | None = None) -> TrainedModel:
        """A model that answers `upper` and `lower` by looking; with a negative `sees` it is always wrong."""
        if data is None:
            out = io.BytesIO()
            looks = LooksAtACorner(classes.index("upper"), classes.index("lower"), len(classes), sees)
            torch.jit.save(torch.jit.script(looks), out)
            data = out.getvalue()
        file = self.blobs.put(data, "pt")
        return TrainedModel(file=file, golden=file, classes=classes, max_side=48)

    def compare(self, manifest: BlobRef, candidate: TrainedModel, champion: TrainedModel | None = None) -> Compared:
        job = Job(project="solar", manifest=manifest, candidate=candidate, champion=champion)
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


def test_what_is_no_model_is_refused_in_a_sentence(world: Surroundings) -> None:
    corners = two_corners(world.blobs)
    with pytest.raises(Rejected, match="is no TorchScript file that can be loaded"):
        world.compare(corners, world.model("upper", "lower", data=b"no model"))
    wide = TrainedModel(**{**world.model("upper", "lower", "x").model_dump(), "classes": ("upper", "lower")})
    with pytest.raises(Rejected, match=r"does not answer probabilities \[8, 2\] first"):
        world.compare(corners, wide)
    with pytest.raises(Rejected, match="test images of lower, which the candidate does not know"):
        world.compare(corners, TrainedModel(**{**wide.model_dump(), "classes": ("upper", "x")}))
    gone = BlobRef(uri=f"blob://{'0' * 64}.parquet", sha256="0" * 64, size_bytes=1)
    with pytest.raises(Rejected, match="is not in the blob store"):
        world.compare(gone, wide)
