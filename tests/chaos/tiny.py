"""A network of a few numbers that tells `upper` from `lower` without fail, and the run that brings it to the loop."""

import io
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from mlflow import MlflowClient
from numpy.typing import NDArray
from torch import Tensor

from contracts.events.dataset import DatasetVersioned
from contracts.events.training import TrainedModel, TrainingCompleted, TrainingPlan
from services.chassis.blobs import Blobs
from services.chassis.images import encode_png

CLASSES = ("upper", "lower")
SIDE = 32
_GOLDEN = 4

Pixels = NDArray[np.uint8]


def picture(label: int, number: int) -> Pixels:
    """uint8 [32, 32]: noise, and a corner a little brighter, upper left (0) or lower right (1)."""
    pixels = np.random.default_rng([label, number]).integers(0, 90, (SIDE, SIDE), dtype=np.uint8)
    corner = pixels[2:12, 2:12] if label == 0 else pixels[-12:-2, -12:-2]
    corner += 30
    return pixels


class Tiny(torch.nn.Module):
    """uint8 [N, 3, H, W] in; probabilities, heat map and embedding out, as the contract of every model says."""

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = torch.nn.Parameter(torch.tensor(sharpness))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grey = images.float().mean(1) / 255
        half = grey.size(1) // 2
        corners = torch.stack([grey[:, :half, :half].mean((1, 2)), grey[:, half:, half:].mean((1, 2))], 1)
        return torch.softmax(corners * self.sharpness, 1), grey[:, ::4, ::4], corners


@cache
def _model(sharpness: float) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Tiny(sharpness).eval()), file)
    return file.getvalue()


def _golden(sharpness: float) -> bytes:
    """npz of golden images and what torch answers here."""
    model = torch.jit.load(io.BytesIO(_model(sharpness)))
    images = [np.repeat(picture(place % 2, place)[np.newaxis], 3, axis=0) for place in range(_GOLDEN)]
    with torch.inference_mode():
        answers = np.stack([model(torch.from_numpy(image[np.newaxis]))[0][0].numpy() for image in images])
    file = io.BytesIO()
    np.savez(file, probabilities=answers, **{f"image_{place}": image for place, image in enumerate(images)})  # type: ignore[arg-type]
    return file.getvalue()


def encoded(label: int, number: int) -> bytes:
    """PNG of a picture of its own that shows a class."""
    return encode_png(picture(label, number))


def trained_elsewhere(
    number: int, project: str, dataset: DatasetVersioned, blobs: Blobs, mlflow: str
) -> TrainingCompleted:
    """The tiny network as somebody outside brings it: with a run of its own in MLflow. Each number is another model."""
    sharpness = 20.0 + number
    model = TrainedModel(
        file=blobs.put(_model(sharpness), "pt"),
        golden=blobs.put(_golden(sharpness), "npz"),
        classes=CLASSES,
        max_side=SIDE,
    )
    return TrainingCompleted(
        plan=TrainingPlan(dataset_id=dataset.dataset_id, recipe="tiny", seed=number),
        dataset_number=dataset.number,
        manifest=dataset.manifest,
        run_id=_run(number, project, MlflowClient(mlflow), _model(sharpness)),
        model=model,
        metrics={},
        seconds=0.0,
    )


def _run(number: int, project: str, client: MlflowClient, model: bytes) -> str:
    experiment = client.get_experiment_by_name(project)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(project)
    run_id = str(client.create_run(experiment_id, run_name=f"tiny {number}").info.run_id)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.pt").write_bytes(model)
        client.log_artifacts(run_id, folder)
    client.set_terminated(run_id, "FINISHED")
    return run_id
