"""What people say about answers."""

from typing import ClassVar

from pydantic import Field

from contracts.events.base import ClassName, Event, ImageRef


class FeedbackGiven(Event):
    """A person looked at a prediction and says what is right. Becomes an annotation in Label Studio."""

    TYPE: ClassVar[str] = "loopline.feedback.given.v1"

    prediction_id: str = Field(
        description="As in the prediction: the ce-id of its request", examples=["0b0f1a52-7c3e-5d8e-9a41-6f2d0c7b1e90"]
    )
    image: ImageRef = Field(description="As in the prediction")
    predicted: ClassName = Field(description="What the model answered", examples=["functional"])
    correct: ClassName = Field(description="The true class; the predicted one where the answer was right")
    given_by: str = Field(description="Who says so", max_length=200, examples=["inspector@line-3.example"])
    model_version: int | None = Field(None, ge=1, description="Which version had answered", examples=[7])

    @property
    def natural_key(self) -> str:
        return f"{self.prediction_id}={self.correct}"


class FeedbackRejected(Event):
    """The feedback cannot become a label; nothing was changed."""

    TYPE: ClassVar[str] = "loopline.feedback.rejected.v1"

    prediction_id: str = Field(
        description="As in the prediction: the ce-id of its request", examples=["0b0f1a52-7c3e-5d8e-9a41-6f2d0c7b1e90"]
    )
    reason: str = Field(
        description="Why, and what to do",
        examples=["the class 'brokn' is not on the card of solar: it has functional, defective"],
    )
