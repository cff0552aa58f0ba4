"""Images in, answers out."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from contracts.events.base import BlobRef, BlobUri, ClassName, Event, ImageRef, Shape

MAX_INLINE_BYTES = 256 * 1024
MAX_PIXELS = 50_000_000

Metadata = dict[str, str | int | float | bool]


class PredictionRequested(Event):
    """Look at this image. PNG or JPEG, inline as base64 or by URI in the blob store."""

    TYPE: ClassVar[str] = "loopline.prediction.requested.v1"

    image_base64: str | None = Field(
        None, max_length=4 * ((MAX_INLINE_BYTES + 2) // 3), description="At most 256 KiB before encoding"
    )
    image_uri: BlobUri | None = Field(None, description="For larger images")
    metadata: Metadata = Field(default_factory=dict, description="Comes back with the answer", examples=[{"line": 3}])

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        if (self.image_base64 is None) == (self.image_uri is None):
            raise ValueError("give image_base64 or image_uri, one of them")
        return self


class Timings(Shape):
    """Milliseconds."""

    waited_ms: float = Field(ge=0, description="From the request to its start here")
    decode_ms: float = Field(ge=0)
    infer_ms: float = Field(ge=0, description="The call to Triton, its queue included")
    total_ms: float = Field(ge=0, description="In the predictor")


class PredictionCompleted(Event):
    """The answer. Its prediction id is the id of the request: what `feedback.given` names."""

    TYPE: ClassVar[str] = "loopline.prediction.completed.v1"

    prediction_id: str = Field(description="ce-id of the request")
    image: ImageRef
    label: ClassName = Field(description="The likeliest class")
    confidence: float = Field(ge=0, le=1, description="Its probability")
    classes: tuple[ClassName, ...] = Field(description="In the order of probabilities")
    probabilities: tuple[float, ...] = Field(description="In 0..1, together 1")
    heat_map: BlobRef | None = Field(
        None, description="8-bit grey PNG, coarse, bright where the evidence for the answer is"
    )
    model_name: str = Field(description="The registered model: the project's name")
    model_version: int = Field(ge=1, description="Which version answered")
    node: str = Field(description="Which Triton node answered", examples=["local"])
    timings: Timings
    metadata: Metadata = Field(default_factory=dict, description="As in the request")


class PredictionFailed(Event):
    """No answer, and why."""

    TYPE: ClassVar[str] = "loopline.prediction.failed.v1"

    prediction_id: str = Field(description="ce-id of the request")
    reason: str = Field(description="What went wrong and what to do")
    metadata: Metadata = Field(default_factory=dict, description="As in the request")
