"""The scope card: what a project is, in one validated file. Its measurement row is the gate."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from contracts.shapes import ClassName, ProjectName, Shape, rules

MetricName = Annotated[str, StringConstraints(pattern=r"^(accuracy|macro_recall|roc_auc|(recall|precision)\..{1,64})$")]


_ENOUGH_TO_TRAIN_ON = "validation and test together take more than 0.8"
_CLASSES_DIFFER = "classes has a name twice"
_GATES_NAME_CLASSES = "names no class of the card"


class Split(Shape):
    """Shares of the randomly drawn images; what remains is for training. Everything else trains."""

    model_config = ConfigDict(json_schema_extra=rules(_ENOUGH_TO_TRAIN_ON))

    validation: float = Field(0.15, ge=0, le=0.5, description="Share of random images used for calibration")
    test: float = Field(0.20, gt=0, le=0.5, description="Share of random images that no model ever trains on")

    @model_validator(mode="after")
    def _leaves_images_to_train_on(self) -> Self:
        if self.validation + self.test > 0.8:
            raise ValueError(f"{_ENOUGH_TO_TRAIN_ON}: too little is left to train on")
        return self


class Data(Shape):
    """What is looked at, and what it can be."""

    model_config = ConfigDict(json_schema_extra=rules(_CLASSES_DIFFER))

    classes: tuple[ClassName, ...] = Field(
        min_length=2, max_length=100, description="The classes, in order", examples=[["functional", "defective"]]
    )
    split: Split = Split()
    min_train_per_class: int = Field(5, ge=1, description="A dataset with fewer in any class is refused")

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(_CLASSES_DIFFER)
        return self


class Freeze(Shape):
    """When labels become a dataset version: enough of them, or quiet after at least one."""

    new_labels: int = Field(100, ge=1, description="Freeze as soon as this many labels are new")
    quiet_s: float = Field(60, ge=1, le=86_400, description="Freeze when no label came for so long, in seconds")


class Query(Shape):
    """Which predictions come back to people. The random ones keep the test set up with the world."""

    every: int = Field(100, ge=1, description="Choose once this many predictions are waiting")
    quiet_s: float = Field(60, ge=1, le=86_400, description="Or when no prediction came for so long, in seconds")
    uncertain: int = Field(20, ge=0, description="So many of the least certain ones, each time")
    random_share: float = Field(
        0.05, ge=0, le=1, description="And this share of all, drawn by hash whatever their certainty"
    )
    per_day: int = Field(500, ge=0, description="No more tasks from predictions in a UTC day")


class Label(Shape):
    """How labels come in."""

    freeze: Freeze = Freeze()
    query: Query = Query()


class Model(Shape):
    """How a model is made. `parameters` belong to the recipe, which checks them."""

    recipe: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")] = "frozen-features"
    parameters: dict[str, Any] = Field(default_factory=dict, description="Parameters of the recipe")
    seed: int = Field(0, ge=0, le=2**31 - 1)


class Floor(Shape):
    """A metric and the least it may be."""

    metric: MetricName = Field(description="accuracy, macro_recall, roc_auc, recall.<class> or precision.<class>")
    at_least: float = Field(ge=0, le=1)


class Gates(Shape):
    """What a candidate must reach. The first model has only the floors to pass."""

    floors: tuple[Floor, ...] = (Floor(metric="accuracy", at_least=0.5),)
    compare: MetricName = Field("accuracy", description="The metric on which candidate and champion are compared")
    margin: float = Field(0.02, ge=0, le=1, description="How much worse than the champion a candidate may be")
    min_test_per_class: int = Field(5, ge=1, description="With fewer in any class a model cannot be judged")


class ScopeCard(Shape):
    """The whole card. `loopline project apply FILE` publishes it as `project.defined`."""

    model_config = ConfigDict(json_schema_extra=rules(_GATES_NAME_CLASSES))

    project: ProjectName
    goal: str = Field(
        "", max_length=2_000, description="What the model is for, in a sentence", examples=["Find broken solar cells."]
    )
    delivery: str = Field("", max_length=2_000, description="Where its answers go, in a sentence")
    data: Data
    label: Label = Label()
    model: Model = Model()
    gates: Gates = Gates()
    rollout: Literal["all-at-once"] = "all-at-once"

    @model_validator(mode="after")
    def _gates_name_known_classes(self) -> Self:
        for metric in (*(f.metric for f in self.gates.floors), self.gates.compare):
            _, dot, name = metric.partition(".")
            if dot and name not in self.data.classes:
                raise ValueError(f"gates: {metric} {_GATES_NAME_CLASSES}")
        return self
