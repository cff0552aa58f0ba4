"""Events as the bus would say them, for the tests of the operator view."""

from datetime import UTC, datetime, timedelta

from contracts.envelope import Envelope, derive_id
from contracts.events.base import BlobRef, Event, ImageRef
from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.deployment import DeploymentCompleted
from contracts.events.evaluation import EvaluationCompleted, Interval, Metrics
from contracts.events.feedback import FeedbackGiven
from contracts.events.model import ModelVersion
from contracts.events.prediction import PredictionCompleted, Timings
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainedModel, TrainingPlan
from contracts.project import Data, ScopeCard

CLASSES = ("functional", "defective")
START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
_ZEROS = "0" * 64
BLOB = BlobRef(uri=f"blob://{_ZEROS}.pt", sha256=_ZEROS, size_bytes=1)
IMAGE = ImageRef(uri=f"blob://{_ZEROS}.png", sha256=_ZEROS, width=300, height=300)
PLAN = TrainingPlan(dataset_id="1" * 16, recipe="frozen-features", seed=0)
MODEL = TrainedModel(file=BLOB, golden=BLOB, classes=CLASSES, max_side=300)


def at(second: float) -> datetime:
    """So many seconds after the start."""
    return START + timedelta(seconds=second)


def enveloped(
    event: Event, second: float, *, project: str = "solar", cause: str | None = None, turn: str | None = None
) -> tuple[Event, Envelope]:
    """An event and an envelope whose id follows from event and second."""
    id_ = derive_id(event.TYPE, event.model_dump_json(), str(second))
    return event, Envelope(
        id=id_,
        type=event.TYPE,
        source="/services/test",
        project=project,
        time=at(second),
        correlation_id=turn or id_,
        causation_id=cause,
    )


def card(classes: tuple[str, ...] = CLASSES, project: str = "solar") -> ProjectDefined:
    """A card with these classes."""
    return ProjectDefined(card=ScopeCard(project=project, data=Data(classes=classes)))


def answered(
    id_: str, label: str = "defective", confidence: float = 0.9, classes: tuple[str, ...] = CLASSES, version: int = 1
) -> PredictionCompleted:
    """An answer; the other classes share what is left."""
    rest = (1 - confidence) / (len(classes) - 1)
    return PredictionCompleted(
        prediction_id=id_,
        image=IMAGE,
        label=label,
        confidence=confidence,
        classes=classes,
        probabilities=tuple(confidence if name == label else rest for name in classes),
        heat_map=None,
        model_name=f"solar-v{version}",
        model_version=version,
        node="local",
        timings=Timings(waited_ms=1, decode_ms=2, infer_ms=20, total_ms=23),
    )


def given(id_: str, correct: str, by: str = "ines", predicted: str = "defective") -> FeedbackGiven:
    """A person's word about an answer."""
    return FeedbackGiven(prediction_id=id_, image=IMAGE, predicted=predicted, correct=correct, given_by=by)


def versioned(number: int) -> DatasetVersioned:
    """A dataset version."""
    return DatasetVersioned(
        dataset_id=f"{number:016x}",
        number=number,
        manifest=BLOB,
        classes=CLASSES,
        counts=tuple(ClassCount(label=label, train=90, validation=20, test=40) for label in CLASSES),
        labels=300 * number,
        new_labels=300,
    )


def judged(verdict: str, sentence: str) -> EvaluationCompleted:
    """A verdict."""
    number = Interval(value=0.86)
    metrics = Metrics(
        model_sha256=_ZEROS,
        test_images=80,
        accuracy=number,
        macro_recall=number,
        roc_auc=number,
        classes=(),
        confusion=(),
    )
    return EvaluationCompleted.model_validate(
        {
            "verdict": verdict,
            "sentence": sentence,
            "gates": (),
            "candidate": metrics,
            "plan": PLAN,
            "dataset_number": 1,
            "manifest": BLOB,
            "run_id": "a" * 32,
            "model": MODEL,
        }
    )


def model_version(version: int) -> ModelVersion:
    """A registered version."""
    return ModelVersion(
        name="solar", version=version, model=MODEL, run_id="a" * 32, dataset_id="1" * 16, dataset_number=1
    )


def deployed(version: int) -> DeploymentCompleted:
    """A rollout that is complete."""
    return DeploymentCompleted(version=model_version(version), checks=())
