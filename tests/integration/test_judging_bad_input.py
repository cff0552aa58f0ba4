"""The evaluator on the real bus, with its real child process, and candidates that nobody can judge."""

import io
from pathlib import Path
from uuid import uuid4

import pytest
import torch

from contracts.events.base import BlobRef
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainedModel, TrainingCompleted, TrainingPlan
from contracts.project import Data, ScopeCard
from services.chassis.blobs import Blobs
from services.chassis.bus import Bus
from services.chassis.connection import connect
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from services.evaluator.app import build
from services.evaluator.settings import EvaluatorSettings
from tests.eventually import eventually
from tests.manifests import manifest, picture, two_corners

pytestmark = pytest.mark.integration

CLASSES = ("upper", "lower")


class Weighs(torch.nn.Module):
    """`sees` makes it look at the upper left corner; a NaN makes NaN of everything."""

    def __init__(self, sees: float) -> None:
        super().__init__()
        self.sees = sees

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[2] // 2
        bright = images.to(torch.float32)[:, :, :half, :half].mean(dim=(1, 2, 3)) / 255
        return torch.softmax(torch.stack([bright * self.sees, torch.full_like(bright, self.sees * 0.22)], 1), 1)


def scripted(sees: float) -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(Weighs(sees)), out)
    return out.getvalue()


def candidate(blobs: Blobs, number: int, data: bytes, of: BlobRef) -> TrainingCompleted:
    file = blobs.put(data, "pt")
    return TrainingCompleted(
        plan=TrainingPlan(dataset_id="0" * 16, recipe="by-hand", seed=number),
        dataset_number=1,
        manifest=of,
        run_id=f"run-{number}",
        model=TrainedModel(file=file, golden=file, classes=CLASSES, max_side=48),
        metrics={},
        seconds=1,
    )


async def test_whatever_cannot_be_judged_is_answered_and_the_next_one_is_judged(nats_url: str, tmp_path: Path) -> None:
    places = {"nats_url": nats_url, "blobs_root": str(tmp_path / "blobs"), "kept_root": str(tmp_path / "kept")}
    blobs, project = Blobs(places["blobs_root"]), f"corners-{uuid4().hex[:8]}"
    corners = two_corners(blobs)
    alike = manifest(blobs, [(picture(0, number), "upper", "test") for number in range(6)])
    gone = BlobRef(uri=f"blob://{'0' * 64}.parquet", sha256="0" * 64, size_bytes=1)
    candidates = [
        candidate(blobs, 1, b"a pickle of somebody", corners),
        candidate(blobs, 2, scripted(float("nan")), corners),
        candidate(blobs, 3, scripted(50.0), gone),
        candidate(blobs, 4, scripted(50.0), two_corners(blobs, test=0)),
        candidate(blobs, 5, scripted(50.0), alike),
        candidate(blobs, 6, scripted(0.0), corners),
        candidate(blobs, 7, scripted(50.0), corners),
    ]
    connection = await connect(Settings(**places), "test")
    await provision(connection)
    bus = Bus("test")
    bus.attach(connection)
    async with build(EvaluatorSettings(**places)).app().start_lifespan_context():
        await bus.say(ProjectDefined(card=ScopeCard(project=project, data=Data(classes=CLASSES))), project=project)
        found: dict[str, str] = {}
        for one in candidates:
            await bus.say(one, project=project)

            async def answered(run_id: str = one.run_id) -> None:
                for event_type in (EvaluationCompleted, EvaluationFailed):
                    said = await bus.last(event_type, project)
                    if said and said[0].run_id == run_id:
                        fact = said[0]
                        found[run_id] = fact.sentence if isinstance(fact, EvaluationCompleted) else fact.reason
                assert run_id in found

            await eventually(answered, timeout_s=60)
    await connection.close()
    starts = (
        "the candidate's model file is no TorchScript file that can be loaded",
        "the candidate's model file answers numbers that are not finite",
        "the dataset's manifest is gone",
        "The candidate cannot be judged. The test set is empty",
        "The candidate cannot be judged. The test set has 0 of lower",
        "1 of 3 gates failed. Accuracy is 50 %, and always answering upper would reach 50 % as well",
        "All 3 gates passed: the first model may serve.",
    )
    for one, start in zip(candidates, starts, strict=True):
        assert found[one.run_id].startswith(start)
