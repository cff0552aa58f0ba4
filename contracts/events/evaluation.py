"""A candidate beside the champion, on one test set."""

from typing import ClassVar, Literal

from pydantic import Field

from contracts.events.base import BlobRef, ClassName, Event, Sha256, Shape
from contracts.events.training import TrainedModel, TrainingPlan


class Interval(Shape):
    """A number with its 95 % interval, all in 0..1. `value` is missing where it cannot be computed."""

    value: float | None = Field(ge=0, le=1, examples=[0.86])
    low: float | None = Field(None, ge=0, le=1, examples=[0.79])
    high: float | None = Field(None, ge=0, le=1, examples=[0.91])


class ClassMetrics(Shape):
    """Of one class."""

    label: ClassName
    support: int = Field(ge=0, description="Test images of this class", examples=[44])
    precision: Interval
    recall: Interval


class Metrics(Shape):
    """Of one model on the test set."""

    model_sha256: Sha256 = Field(description="Of the model file")
    test_images: int = Field(ge=0, examples=[80])
    accuracy: Interval
    macro_recall: Interval
    roc_auc: Interval = Field(description="One against the rest, averaged over classes; Hanley and McNeil's interval")
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...] = Field(
        description="[true][answered], in the order of classes", examples=[[[33, 3], [8, 36]]]
    )


class GateResult(Shape):
    """One gate, its numbers and a sentence for a person."""

    gate: str = Field(examples=["floor: recall.defective"])
    passed: bool = Field(examples=[True])
    value: float | None = Field(None, examples=[0.81])
    limit: float | None = Field(None, examples=[0.7])
    sentence: str = Field(examples=["Recall of defective is 81 %, at or above the floor of 70 %."])


Verdict = Literal["passed", "failed", "cannot-be-judged"]


class EvaluationCompleted(Event):
    """The candidate was judged. A refusal is a verdict, not an error."""

    TYPE: ClassVar[str] = "loopline.evaluation.completed.v1"

    verdict: Verdict = Field(description="Whether the candidate may replace the champion")
    sentence: str = Field(description="The verdict in a sentence", examples=["Every gate passed."])
    gates: tuple[GateResult, ...] = Field(description="Every gate of the card, passed or not")
    candidate: Metrics
    champion: Metrics | None = Field(None, description="Missing for a project's first model")
    champion_version: int | None = Field(None, ge=1, description="Its version in the registry", examples=[6])
    plan: TrainingPlan
    dataset_number: int = Field(ge=1, description="Of the candidate's dataset", examples=[2])
    manifest: BlobRef
    run_id: str = Field(description="MLflow run of the candidate", examples=["6f2b0c0d3f0e4a58a0c3a7b7a2b5f0aa"])
    model: TrainedModel


class EvaluationFailed(Event):
    """The candidate could not be judged at all: an answer, not silence."""

    TYPE: ClassVar[str] = "loopline.evaluation.failed.v1"

    run_id: str = Field(description="MLflow run of the candidate", examples=["6f2b0c0d3f0e4a58a0c3a7b7a2b5f0aa"])
    model_sha256: Sha256 = Field(description="Of the model file")
    reason: str = Field(
        description="What went wrong and what to do",
        examples=["the test set is empty: label more images, or raise data.split.test on the card"],
    )
