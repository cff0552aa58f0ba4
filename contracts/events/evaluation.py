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


class Confident(Shape):
    """The images about which a model was similarly sure: a point of the reliability diagram."""

    images: int = Field(ge=1, examples=[40])
    confidence: float = Field(ge=0, le=1, description="Mean probability of the answers", examples=[0.91])
    accuracy: float = Field(ge=0, le=1, description="Share of them that is right", examples=[0.88])


class Calibration(Shape):
    """Whether the probabilities mean what they say."""

    error: float = Field(
        ge=0, le=1, description="Expected calibration error of the answers, over bins of equally many", examples=[0.03]
    )
    brier: float = Field(ge=0, le=1, description="Brier score, halved so that it stays below 1", examples=[0.11])
    bins: tuple[Confident, ...] = Field(description="By growing confidence; more images make more bins")


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
    macro_f1: Interval | None = Field(None, description="F1 averaged over the classes")
    calibration: Calibration | None = Field(None, description="Missing where there are no test images")


class Comparison(Shape):
    """Candidate and champion on the same images, by the card's `compare`, of the classes that both know."""

    metric: str = Field(examples=["accuracy"])
    images: int = Field(ge=0, examples=[80])
    difference: float = Field(ge=-1, le=1, description="Candidate minus champion", examples=[0.025])
    low: float | None = Field(None, ge=-1, le=1, description="Of the 95 % interval", examples=[-0.03])
    high: float | None = Field(None, ge=-1, le=1, description="Of the 95 % interval", examples=[0.08])
    p_value: float | None = Field(None, ge=0, le=1, description="Two-sided, of no difference", examples=[0.69])
    test: Literal["mcnemar", "bootstrap"] = Field(description="McNemar's exact test for accuracy")
    only_candidate_right: int = Field(ge=0, description="Images that the champion gets wrong", examples=[4])
    only_champion_right: int = Field(ge=0, description="Images that the candidate gets wrong", examples=[2])


class SliceMetrics(Shape):
    """Of the candidate on the test images with one value of one key of their metadata."""

    key: str = Field(examples=["camera"])
    value: str = Field(description="As text; a range of numbers where there are many", examples=["line 3"])
    metric: str = Field(examples=["accuracy"])
    images: int = Field(ge=0, description="That count for the metric", examples=[24])
    score: Interval


class GateResult(Shape):
    """One gate, its numbers and a sentence for a person."""

    gate: str = Field(examples=["floor: recall.defective"])
    passed: bool = Field(examples=[True])
    value: float | None = Field(None, examples=[0.81])
    limit: float | None = Field(None, examples=[0.7])
    sentence: str = Field(examples=["Recall of defective is 81 %, at or above the floor of 70 %."])


_TOLD_WHEN_PASSED = ("misses", "slices", "calibration")

Verdict = Literal["passed", "failed", "cannot-be-judged"]


class EvaluationCompleted(Event):
    """The candidate was judged. A refusal is a verdict, not an error."""

    TYPE: ClassVar[str] = "loopline.evaluation.completed.v1"

    verdict: Verdict = Field(description="Whether the candidate may replace the champion")
    sentence: str = Field(description="The verdict in a sentence", examples=["Every gate passed."])
    gates: tuple[GateResult, ...] = Field(description="Every gate of the card, passed or not")
    candidate: Metrics
    champion: Metrics | None = Field(None, description="Missing for a project's first model")
    comparison: Comparison | None = Field(None, description="Missing where there is nothing to compare")
    slices: tuple[SliceMetrics, ...] = Field(
        (),
        description="By the metadata of the images, in the order of keys and values",
        examples=[
            [
                {
                    "key": "camera",
                    "value": "line 3",
                    "metric": "accuracy",
                    "images": 24,
                    "score": {"value": 0.83, "low": 0.64, "high": 0.93},
                }
            ]
        ],
    )
    champion_version: int | None = Field(None, ge=1, description="Its version in the registry", examples=[6])
    plan: TrainingPlan
    dataset_number: int = Field(ge=1, description="Of the candidate's dataset", examples=[2])
    manifest: BlobRef
    run_id: str = Field(description="MLflow run of the candidate", examples=["6f2b0c0d3f0e4a58a0c3a7b7a2b5f0aa"])
    model: TrainedModel

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person wants to know of a candidate that passed: how much it misses, its worst slice, its confidence.

        The sentences of those gates, where the card has them.
        """
        told = (gate for gate in self.gates if gate.gate.partition(":")[0] in _TOLD_WHEN_PASSED)
        return tuple(gate.sentence for gate in told if gate.passed)


class EvaluationFailed(Event):
    """The candidate could not be judged at all: an answer, not silence."""

    TYPE: ClassVar[str] = "loopline.evaluation.failed.v1"

    run_id: str = Field(description="MLflow run of the candidate", examples=["6f2b0c0d3f0e4a58a0c3a7b7a2b5f0aa"])
    model_sha256: Sha256 = Field(description="Of the model file")
    reason: str = Field(
        description="What went wrong and what to do",
        examples=["the test set is empty: label more images, or raise data.split.test on the card"],
    )
