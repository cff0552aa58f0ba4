"""What people say about images."""

from datetime import datetime
from typing import ClassVar

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
