"""What the model that serves meets is no longer what it met at first."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from contracts.events.base import ClassName, Event, ImageRef, Shape

DriftKind = Literal["inputs", "classes", "confidence", "accuracy"]


class DriftWindow(Shape):
    """The answers that were looked at; of `accuracy`, those that people judged."""

    began_at: datetime = Field(description="When the first of them was said", examples=["2026-11-24T11:02:00Z"])
    ended_at: datetime = Field(description="When the last of them was said", examples=["2026-11-24T12:00:00Z"])
    count: int = Field(ge=1, description="How many answers", examples=[200])


class DriftedPicture(Shape):
    """A picture of the window in which the drift shows."""

    prediction_id: str = Field(
        description="As in the prediction: the ce-id of its request", examples=["0b0f1a52-7c3e-5d8e-9a41-6f2d0c7b1e90"]
    )
    image: ImageRef
    label: ClassName = Field(description="What the model answered")


class DriftDetected(Event):
    """Something of what the serving version sees or answers has changed. Said once, and again after it was over.

    Caused by the prediction or the feedback that completed the window.
    """

    TYPE: ClassVar[str] = "loopline.drift.detected.v1"

    kind: DriftKind = Field(
        description="What has changed: the embeddings of the inputs, the mix of the answered classes, how sure the "
        "answers are, or how many of those that people judged are right"
    )
    model_version: int = Field(ge=1, description="The version that serves", examples=[7])
    window: DriftWindow
    reference_count: int = Field(
        ge=0, description="Answers of this version that the window is compared with; 0 for accuracy", examples=[500]
    )
    statistic: float = Field(
        description="0..1. inputs: energy distance over the mean distance between reference and window; classes: total "
        "variation distance; confidence: Kolmogorov-Smirnov distance; accuracy: the share that is right",
        examples=[0.06],
    )
    threshold: float = Field(description="The card's limit for the statistic", examples=[0.02])
    p_value: float = Field(
        ge=0, le=1, description="How likely such a statistic would be without any change", examples=[0.0001]
    )
    p_threshold: float = Field(
        gt=0,
        le=1,
        description="From the card's rate of false alarms, shared by all that is watched",
        examples=[0.00025],
    )
    pictures: tuple[DriftedPicture, ...] = Field(description="Those that drifted most, the worst first", max_length=12)
    sentence: str = Field(
        description="For a person",
        examples=[
            "The last 200 pictures look unlike the first 500 that version 7 answered: distance 0.060, limit 0.020. "
            "Look at those that differ most: a new lamp, camera or product?"
        ],
    )

    @property
    def natural_key(self) -> str:
        return f"{self.model_version}.{self.kind}"
