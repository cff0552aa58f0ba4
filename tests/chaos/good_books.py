"""Books in which everything is as it should be: one turn of the loop, one prediction, one correction."""

from datetime import UTC, datetime

from contracts.events.base import BlobRef, ImageRef
from contracts.events.dataset import ClassCount, DatasetVersioned
from contracts.events.deployment import DeploymentCompleted
from contracts.events.evaluation import EvaluationCompleted, Interval, Metrics
from contracts.events.feedback import FeedbackGiven
from contracts.events.image import ImageAdded, ImageRejected
from contracts.events.label import LabelSubmitted
from contracts.events.model import ModelApproved, ModelPromoted, ModelRegistered, ModelVersion
from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested, Timings
from contracts.events.training import TrainedModel, TrainingCompleted, TrainingFailed, TrainingPlan, TrainingRequested
from tests.chaos.books import INSPECTOR, Annotation, Books, Dead, Fact, Run, Sent, Task, Version, Waiting

CLASSES = ("upper", "lower")
PLAN = TrainingPlan(dataset_id="1" * 16, recipe="tiny", seed=0)
BLOB = BlobRef(uri=f"blob://{'0' * 64}.pt", sha256="0" * 64, size_bytes=1)
MODEL = TrainedModel(file=BLOB, golden=BLOB, classes=CLASSES, max_side=32)
VERSION = ModelVersion(name="p", version=1, model=MODEL, run_id="run-1", dataset_id="1" * 16, dataset_number=1)
INJECTED = Dead("LOOP", 7, "labeling-sync-images")


def image(digit: str) -> ImageRef:
    """An image whose hash is one digit."""
    return ImageRef(uri=f"blob://{digit * 64}.png", sha256=digit * 64, width=32, height=32)


def label(annotation_id: int, digit: str, name: str = "upper") -> LabelSubmitted:
    """Word of an annotation."""
    return LabelSubmitted(
        image_sha256=digit * 64, label=name, chosen="random", task_id=1, annotation_id=annotation_id,
        labelled_at=datetime(2026, 11, 24, tzinfo=UTC),
    )  # fmt: skip


def versioned(number: int, labels: int = 3) -> DatasetVersioned:
    """A dataset version."""
    return DatasetVersioned(
        dataset_id=f"{number:016x}", number=number, manifest=BLOB, classes=CLASSES, labels=labels, new_labels=1,
        counts=tuple(ClassCount(label=name, train=1, validation=0, test=0) for name in CLASSES),
    )  # fmt: skip


def completed(run_id: str = "run-1") -> TrainingCompleted:
    """A training that was completed."""
    return TrainingCompleted(
        plan=PLAN, dataset_number=1, manifest=BLOB, run_id=run_id, model=MODEL, metrics={}, seconds=1
    )


def judged(verdict: str = "passed", run_id: str = "run-1") -> EvaluationCompleted:
    """A verdict."""
    number = Interval(value=0.9)
    metrics = Metrics(
        model_sha256="0" * 64, test_images=4, accuracy=number, macro_recall=number, roc_auc=number, classes=(),
        confusion=(),
    )  # fmt: skip
    return EvaluationCompleted.model_validate(
        {
            "verdict": verdict, "sentence": "…", "gates": (), "candidate": metrics, "plan": PLAN, "dataset_number": 1,
            "manifest": BLOB, "run_id": run_id, "model": MODEL,
        }
    )  # fmt: skip


def answered(prediction_id: str) -> PredictionCompleted:
    """An answer."""
    return PredictionCompleted(
        prediction_id=prediction_id, image=image("b"), label="upper", confidence=1, classes=CLASSES,
        probabilities=(1, 0), model_name="p", model_version=1, node="local",
        timings=Timings(waited_ms=0, decode_ms=0, infer_ms=0, total_ms=0),
    )  # fmt: skip


_ADDED = ImageAdded(image=image("a"), label="upper", labelled_by="import")
_UNKNOWN_CLASS = ImageAdded(image=image("d"), label="no-such-class", labelled_by="import")
_ASKED_ABOUT = ImageAdded(image=image("c"), chosen="uncertain")
_CORRECTED = FeedbackGiven(
    prediction_id="asked", image=image("b"), predicted="lower", correct="upper", given_by="a person"
)
_WRONG_RECIPE = TrainingRequested(recipe="no-such-recipe")
_REQUEST = PredictionRequested(image_base64="aGVsbG8=")

GOOD = Books(
    sent=(
        Sent("added", _ADDED), Sent("unknown-class", _UNKNOWN_CLASS, refused=True), Sent("corrected", _CORRECTED),
        Sent("asked", _REQUEST), Sent("no-picture", _REQUEST, refused=True),
        Sent("wrong-recipe", _WRONG_RECIPE, refused=True),
    ),
    facts=(
        Fact("added", _ADDED),
        Fact("unknown-class", _UNKNOWN_CLASS),
        Fact("rejected", ImageRejected(image=image("d"), reason="no such class"), "unknown-class"),
        Fact("answered", answered("asked"), "asked"),
        Fact("unanswered", PredictionFailed(prediction_id="no-picture", reason="no picture"), "no-picture"),
        Fact("asked-about", _ASKED_ABOUT, "answered"),
        Fact("corrected", _CORRECTED),
        Fact("label-1", label(11, "a")),
        Fact("label-2", label(12, "b")),
        Fact("label-3", label(13, "c")),
        Fact("dataset", versioned(1)),
        Fact("wrong-recipe", _WRONG_RECIPE),
        Fact("training-failed", TrainingFailed(reason="there is no recipe no-such-recipe"), "wrong-recipe"),
        Fact("trained", completed(), "dataset"),
        Fact("judged", judged(), "trained"),
        Fact("registered", ModelRegistered(version=VERSION), "judged"),
        Fact("approved", ModelApproved(version=VERSION, approved_by="gates", why="…"), "judged"),
        Fact("deployed", DeploymentCompleted(version=VERSION, checks=()), "approved"),
        Fact("promoted", ModelPromoted(version=VERSION), "deployed"),
        # Said again after the window in which the server knows it: stored twice and still one fact.
        Fact("promoted", ModelPromoted(version=VERSION), "deployed"),
    ),
    dead={INJECTED: "Rejected: …"},
    injected=frozenset({INJECTED}),
    tasks=(
        Task(1, "a" * 64, (Annotation(11, "upper", "import"),)),
        Task(2, "b" * 64, (Annotation(12, "upper", "a person"),)),
        Task(3, "c" * 64, (Annotation(13, "upper", INSPECTOR),)),
    ),
    runs=(Run("run-1", claim="train.p.1"),),
    versions=(Version(1, "run-1"),),
    champion=1,
    served=1,
    claims={
        "train.p.1": {"owner": "LOOP:1", "result": {}},
        "lease.labeling-sync.labels": {"owner": "host/1", "until": ""},
    },
    waiting=(Waiting("trainer-training"),),
)  # fmt: skip
