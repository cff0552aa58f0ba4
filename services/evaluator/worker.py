"""The warm child process of the evaluator: imports torch once, then compares models.

python -m services.evaluator.worker
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from contracts.events.evaluation import Metrics
from contracts.events.training import TrainedModel
from services.chassis.blobs import Blobs, Cache
from services.chassis.child import serve
from services.chassis.errors import Rejected
from services.evaluator.adapters.parquet_manifest import TestImage, test_images
from services.evaluator.adapters.torchscript import TorchScript
from services.evaluator.answers import Answer, answers
from services.evaluator.job import Compared, Job, Places, Shared
from services.evaluator.metrics import Probabilities, scores


def handle(given: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Compare the models of `given["job"]` with the `given["places"]`; returns a `Compared`.

    Raises:
        Rejected: a model or an image is gone or bad; the text says which.
    """
    job, places = Job.model_validate(given["job"]), Places.model_validate(given["places"])
    blobs = Blobs(places.blobs_root)
    images = test_images(blobs.read(job.manifest.uri))
    unknown = sorted({image.label for image in images} - set(job.candidate.classes))
    if unknown:
        raise Rejected(f"the manifest has test images of {', '.join(unknown)}, which the candidate does not know")
    answered = Asked(job.candidate, images, blobs, places.kept_root)
    shared = None
    if job.champion:
        shared = in_common(answered, Asked(job.champion, images, blobs, places.kept_root))
    return Compared(candidate=answered.metrics(job.candidate.classes), shared=shared).model_dump(mode="json")


class Asked:
    """A model with its answers to the test images."""

    def __init__(self, model: TrainedModel, images: Sequence[TestImage], blobs: Blobs, kept_root: str) -> None:
        self.model = model
        self.images = images

        def load() -> Answer:
            return TorchScript(blobs.read(model.file.uri), model.file.uri, len(model.classes)).answer

        self.probabilities: Probabilities = answers(
            images,
            load=load,
            classes=len(model.classes),
            max_side=model.max_side,
            blobs=blobs,
            # An image over max_side is another image to the model.
            cache=Cache(kept_root, f"answers/{model.file.sha256}-{model.max_side}"),
        ).astype(np.float64)

    def metrics(self, classes: Sequence[str]) -> Metrics:
        """Scores when asked only about these of its classes, on the test images of these."""
        place = {label: index for index, label in enumerate(classes)}
        of_these = [row for row, image in enumerate(self.images) if image.label in place]
        columns = [self.model.classes.index(label) for label in classes]
        truth = np.array([place[self.images[row].label] for row in of_these], np.int64)
        asked = self.probabilities[of_these][:, columns]
        found = scores(truth, asked / np.maximum(asked.sum(axis=1, keepdims=True), 1e-12), classes)
        return Metrics.model_validate({"model_sha256": self.model.file.sha256, **asdict(found)})


def in_common(candidate: Asked, champion: Asked) -> Shared:
    """Both models on what both know."""
    mine, theirs = candidate.model.classes, champion.model.classes
    both = tuple(label for label in mine if label in theirs)
    enough = len(both) >= 2
    return Shared(
        images=sum(image.label in both for image in candidate.images),
        only_candidate_knows=tuple(label for label in mine if label not in both),
        only_champion_knows=tuple(label for label in theirs if label not in both),
        candidate=candidate.metrics(both) if enough else None,
        champion=champion.metrics(both) if enough else None,
    )


def warm() -> None:
    """Pay before the first job what is paid once."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr)
    serve(handle, warm)
