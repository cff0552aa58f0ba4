"""Parameters of the recipes, as the card and a request give them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FrozenFeatures(BaseModel):
    """A linear head on statistics of a pretrained, frozen EfficientNet-Lite0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_px: int = Field(300, ge=32, le=768, description="Side of the square that the backbone looks at, pixels")
    max_side: int = Field(512, ge=32, le=4096, description="Larger images are shrunk to this many pixels first")
    l2: float | None = Field(
        None,
        gt=0,
        le=1e3,
        allow_inf_nan=False,
        description="Penalty on the weights; chosen on validation when missing",
    )
    class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: each class counts the same however few its images"
    )
