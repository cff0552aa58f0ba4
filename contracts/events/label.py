"""What people say about images."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from contracts.events.base import ClassName, Event, Sha256
from contracts.events.image import Chosen


class LabelSubmitted(Event):
    """A person labelled an image in Label Studio, or changed a label."""

    TYPE: ClassVar[str] = "loopline.label.submitted.v1"

    image_sha256: Sha256 = Field(examples=["0" * 64])
    label: ClassName = Field(description="The class chosen", examples=["defective"])
    chosen: Chosen = Field(description="How the image had come to be asked about")
    task_id: int = Field(description="Label Studio's task", ge=1, examples=[17])
    annotation_id: int = Field(description="Label Studio's annotation", ge=1, examples=[23])
    annotator: str = Field("", description="Who labelled", max_length=200, examples=["inspector@line-3.example"])
    lead_time_s: float | None = Field(None, description="Seconds spent", ge=0, examples=[2.4])
    labelled_at: datetime = Field(description="When, UTC", examples=["2026-11-24T11:59:58Z"])

    @property
    def natural_key(self) -> str:
        return f"{self.annotation_id}@{self.labelled_at.isoformat()}"


class LabelWithdrawn(Event):
    """A label that counted is gone: the next dataset version does without it."""

    TYPE: ClassVar[str] = "loopline.label.withdrawn.v1"

    image_sha256: Sha256 = Field(examples=["0" * 64])
    label: ClassName = Field(description="The class that it named", examples=["defective"])
    why: Literal["deleted", "skipped"] = Field(
        description="The annotation was deleted, or says no class any more", examples=["deleted"]
    )
    task_id: int = Field(description="Label Studio's task", ge=1, examples=[17])
    annotation_id: int = Field(description="Label Studio's annotation", ge=1, examples=[23])
    annotator: str = Field("", description="Who had labelled", max_length=200, examples=["inspector@line-3.example"])
    labelled_at: datetime = Field(description="When the label was given, UTC", examples=["2026-11-24T11:59:58Z"])

    @property
    def natural_key(self) -> str:
        return f"{self.annotation_id}@{self.labelled_at.isoformat()}"


class LabelDoubted(Event):
    """A label is likely wrong: a model that did not train on the image says another class. People look once more."""

    TYPE: ClassVar[str] = "loopline.label.doubted.v1"

    image_sha256: Sha256 = Field(examples=["0" * 64])
    label: ClassName = Field(description="The class that was given", examples=["defective"])
    likelier: ClassName = Field(description="The class that the model finds likeliest", examples=["functional"])
    label_probability: float = Field(ge=0, le=1, description="Of the class that was given", examples=[0.04])
    likelier_probability: float = Field(ge=0, le=1, description="Of the likelier class", examples=[0.96])
    task_id: int = Field(description="Label Studio's task, in its tab `Second look`", ge=1, examples=[17])
    run_id: str = Field(description="MLflow run of the model", examples=["6f2b0c0d3f0e4a58a0c3a7b7a2b5f0aa"])

    @property
    def natural_key(self) -> str:
        return f"{self.image_sha256}={self.label}"
