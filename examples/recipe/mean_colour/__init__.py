"""The recipe `mean-colour`. Torch-free: requests are checked against it by a service that has no torch."""

from pydantic import BaseModel, ConfigDict, Field

from services.chassis.recipes import Recipe


class Parameters(BaseModel):
    """What a card or a request may set; anything else is refused when it is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(300, ge=1, le=10_000, description="Steps of Adam")
    rate: float = Field(0.1, gt=0, le=10, allow_inf_nan=False, description="Its learning rate")
    max_side: int = Field(256, ge=32, le=4096, description="Larger images are shrunk to this many pixels first")


MEAN_COLOUR = Recipe(Parameters, "mean_colour.training:train")
