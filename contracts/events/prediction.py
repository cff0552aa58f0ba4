"""Images in, answers out."""

from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from contracts.events.base import BlobRef, BlobUri, ClassName, Event, ImageRef, Shape, rules

MAX_INLINE_BYTES = 256 * 1024
MAX_PIXELS = 50_000_000

Metadata = Annotated[dict[str, str | int | float | bool], Field(examples=[{"line": 3}])]

# A PNG of 8 x 8 pixels.
_GREY_SQUARE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAGklEQVR42mMUYIAAFnkYQxHGUCDMYHwPZQAALeQB2gvqqowAAAAASUVORK5CYII="
)
_ONE_IMAGE = "give image_base64 or image_uri, one of them"


class PredictionRequested(Event):
    """Look at this image. PNG or JPEG, inline as base64 or by URI in the blob store."""

    TYPE: ClassVar[str] = "loopline.prediction.requested.v1"
    model_config = ConfigDict(json_schema_extra=rules(_ONE_IMAGE))

    image_base64: str | None = Field(
        None,
        max_length=4 * ((MAX_INLINE_BYTES + 2) // 3),
        description="At most 256 KiB before encoding",
        examples=[_GREY_SQUARE],
    )
    image_uri: BlobUri | None = Field(None, description="For larger images", examples=[None])
    metadata: Metadata = Field(default_factory=dict, description="Comes back with the answer")

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        if (self.image_base64 is None) == (self.image_uri is None):
            raise ValueError(_ONE_IMAGE)
        return self


class Timings(Shape):
    """Milliseconds."""

    waited_ms: float = Field(ge=0, description="From the request to its start here", examples=[1.8])
    decode_ms: float = Field(ge=0, examples=[2.1])
    infer_ms: float = Field(ge=0, description="The call to Triton, its queue included", examples=[21.4])
    total_ms: float = Field(ge=0, description="In the predictor", examples=[25.0])


class PredictionCompleted(Event):
    """The answer. Its prediction id is the id of the request: what `feedback.given` names."""

    TYPE: ClassVar[str] = "loopline.prediction.completed.v1"

    prediction_id: str = Field(description="ce-id of the request", examples=["0b0f1a52-7c3e-5d8e-9a41-6f2d0c7b1e90"])
    image: ImageRef
    label: ClassName = Field(description="The likeliest class")
    confidence: float = Field(ge=0, le=1, description="Its probability", examples=[0.93])
    classes: tuple[ClassName, ...] = Field(
        description="In the order of probabilities", examples=[["functional", "defective"]]
    )
    probabilities: tuple[float, ...] = Field(description="In 0..1, together 1", examples=[[0.07, 0.93]])
    heat_map: BlobRef | None = Field(
        None, description="8-bit grey PNG, coarse, bright where the evidence for the answer is"
    )
    sketch: str | None = Field(
        None,
        max_length=88,
        description="The model's embedding of the image, projected to 32 float16, as base64: what the watch compares",
        examples=["A" * 86 + "=="],
    )
    model_name: str = Field(description="The registered model: the project's name", examples=["solar"])
    model_version: int = Field(ge=1, description="Which version answered", examples=[7])
    node: str = Field(description="Which Triton node answered", examples=["local"])
    timings: Timings
    metadata: Metadata = Field(default_factory=dict, description="As in the request")


class PredictionFailed(Event):
    """No answer, and why."""

    TYPE: ClassVar[str] = "loopline.prediction.failed.v1"

    prediction_id: str = Field(description="ce-id of the request", examples=["0b0f1a52-7c3e-5d8e-9a41-6f2d0c7b1e90"])
    reason: str = Field(
        description="What went wrong and what to do",
        examples=["no version of solar serves yet: train one, then ask again"],
    )
    metadata: Metadata = Field(default_factory=dict, description="As in the request")
