"""A search for parameters: what may be tried, how long, and what is to be best."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from contracts.shapes import Shape, rules

_LOW_BELOW_HIGH = "low is not below high"
_LOG_ABOVE_ZERO = "a logarithmic range begins above 0"
_CHOICES_DIFFER = "a choice is there twice"


class _Range(Shape):
    model_config = ConfigDict(json_schema_extra=rules(_LOW_BELOW_HIGH, _LOG_ABOVE_ZERO))

    low: float
    high: float
    log: bool = Field(False, description="Tried evenly on a logarithmic scale")

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.low >= self.high:
            raise ValueError(_LOW_BELOW_HIGH)
        return self

    @model_validator(mode="after")
    def _has_a_logarithm(self) -> Self:
        if self.log and self.low <= 0:
            raise ValueError(_LOG_ABOVE_ZERO)
        return self


class FloatRange(_Range):
    """A real number, both ends included."""

    kind: Literal["float"]
    low: float = Field(description="The least that is tried", examples=[1e-5])
    high: float = Field(description="The most that is tried", examples=[0.1])


class IntRange(_Range):
    """A whole number, both ends included."""

    kind: Literal["int"]
    low: int = Field(description="The least that is tried", examples=[96])
    high: int = Field(description="The most that is tried", examples=[384])


class Choice(Shape):
    """One of a few values."""

    model_config = ConfigDict(json_schema_extra=rules(_CHOICES_DIFFER))

    kind: Literal["choice"]
    values: tuple[bool | int | float | str | None, ...] = Field(
        min_length=2, max_length=100, description="What is tried", examples=[["none", "balanced"]]
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len({repr(value) for value in self.values}) != len(self.values):
            raise ValueError(_CHOICES_DIFFER)
        return self


# By its `kind`, so that what is wrong with a range is told of that kind alone.
Range = Annotated[FloatRange | IntRange | Choice, Field(discriminator="kind")]


class Budget(Shape):
    """When a search ends: by whichever comes first. What is in work then is still finished, or pruned."""

    trials: int = Field(20, ge=1, le=10_000, description="So many trainings in all")
    minutes: float | None = Field(
        None, gt=0, le=10_080, description="No new one begins after so many minutes", examples=[10]
    )


class Search(Shape):
    """What is tried, over and above the fixed parameters of the plan."""

    space: dict[str, Range] = Field(
        min_length=1,
        max_length=50,
        description="Parameters of the recipe, and what is tried of each",
        examples=[{"l2": {"kind": "float", "low": 1e-5, "high": 0.1, "log": True}}],
    )
    budget: Budget = Budget()
    objective: str = Field(
        "validation_log_loss",
        max_length=64,
        description="The metric of the recipe that is to be best: the least where its name ends in loss, else the most",
        examples=["validation_log_loss"],
    )

    @property
    def minimizes(self) -> bool:
        """Whether the least is the best."""
        return self.objective.endswith(("loss", "error"))
