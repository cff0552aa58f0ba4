"""A model with its answers to the test images, under the names that its classes have today."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from contracts.events.evaluation import Metrics
from contracts.events.training import TrainedModel
from services.chassis.blobs import BlobMissing, Blobs, Cache
from services.chassis.errors import Rejected
from services.evaluator.adapters.parquet_manifest import TestImage
from services.evaluator.adapters.torchscript import BadModel, TorchScript
from services.evaluator.answers import Answer, answers
from services.evaluator.calibration import calibration
from services.evaluator.intervals import Labels, Probabilities
from services.evaluator.metrics import scores

_REMEDY = {
    "candidate": "mend what exports it, and train again",
    "champion": "nothing can be judged beside it; put its file back, or make another version the champion",
}


class Asked:
    """A model that was asked about images; `role` is candidate or champion.

    Raises:
        Rejected: the model or an image is gone or bad; the text says which, and what to do.
    """

    def __init__(
        self,
        role: str,
        model: TrainedModel,
        images: Sequence[TestImage],
        *,
        blobs: Blobs,
        kept_root: str,
        renamed: Mapping[str, str],
    ) -> None:
        self.model_sha256 = model.file.sha256
        self._names = [renamed.get(label, label) for label in model.classes]
        # Two classes may have become one since it was trained.
        self.classes: tuple[str, ...] = tuple(dict.fromkeys(self._names))
        self._labels = [renamed.get(image.label, image.label) for image in images]
        name = f"the {role}'s model file"

        def load() -> Answer:
            try:
                data = blobs.read(model.file.uri)
            except BlobMissing as error:
                raise BadModel(f"{name} is gone ({error})") from error
            return TorchScript(data, name, len(model.classes)).answer

        try:
            self._probabilities: Probabilities = answers(
                images,
                load=load,
                classes=len(model.classes),
                max_side=model.max_side,
                blobs=blobs,
                # An image over max_side is another image to the model.
                cache=Cache(kept_root, f"answers/{model.file.sha256}-{model.max_side}"),
            ).astype(np.float64)
        except BadModel as error:
            raise Rejected(f"{error}: {_REMEDY[role]}") from error

    def rows(self, classes: Sequence[str]) -> list[int]:
        """Which of the images show one of these classes."""
        return [row for row, label in enumerate(self._labels) if label in classes]

    def answered(self, classes: Sequence[str]) -> tuple[Labels, Probabilities]:
        """When asked only about these of its classes, on the images of these, in the order of `rows`.

        Truth, int64 [n] of indices into `classes`, and probabilities float64 [n, len(classes)].
        """
        rows = self.rows(classes)
        truth = np.array([classes.index(self._labels[row]) for row in rows], np.int64)
        belongs = np.array([[name == label for label in classes] for name in self._names], np.float64)
        asked = self._probabilities[rows] @ belongs
        return truth, asked / np.maximum(asked.sum(axis=1, keepdims=True), 1e-12)

    def metrics(self, classes: Sequence[str]) -> Metrics:
        """Scores of `answered`."""
        truth, probabilities = self.answered(classes)
        found = asdict(scores(truth, probabilities, classes))
        calibrated = calibration(truth, probabilities)
        found["calibration"] = asdict(calibrated) if calibrated else None
        return Metrics.model_validate({"model_sha256": self.model_sha256, **found})
