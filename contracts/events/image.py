"""Images on their way to a label."""

from typing import ClassVar, Literal

from pydantic import Field

from contracts.events.base import ClassName, Event, ImageRef

Chosen = Literal["random", "uncertain", "corrected"]


class ImageAdded(Event):
    """An image should be labelled, or comes with its label."""

    TYPE: ClassVar[str] = "loopline.image.added.v1"

    image: ImageRef
    chosen: Chosen = Field("random", description="How it was chosen; only random images may enter validation and test")
    label: ClassName | None = Field(None, description="Its class, where it is known already", examples=["defective"])
    labelled_by: str = Field("", max_length=200, description="Who knows it", examples=["import"])
    metadata: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="Group and slice keys", examples=[{"type": "mono"}]
    )

    @property
    def natural_key(self) -> str:
        return f"{self.image.sha256}={self.label or ''}"


class ImageRejected(Event):
    """An image cannot be labelled here; nothing was changed."""

    TYPE: ClassVar[str] = "loopline.image.rejected.v1"

    image: ImageRef
    reason: str = Field(description="Why, and what to do", examples=["the class 'brokn' is not on the card of solar"])
