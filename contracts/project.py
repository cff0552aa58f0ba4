"""The scope card: what a project is, in one validated file. Its measurement row is the gate."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from contracts.shapes import ClassName, ProjectName, Shape, rules

MetricName = Annotated[str, StringConstraints(pattern=r"^(accuracy|macro_recall|roc_auc|(recall|precision)\..{1,64})$")]
# What was published keeps its pattern (ADR 0012), so a metric that came later has a type of its own.
AnyMetric = Annotated[
    str, StringConstraints(pattern=r"^(accuracy|macro_recall|macro_f1|roc_auc|(recall|precision)\..{1,64})$")
]

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
    renamed: dict[str, ClassName] = Field(
        default_factory=dict,
        description="Former name -> class of the card: labels with the former name count as the class",
        examples=[{"broken": "defective"}],
    )
    split: Split = Split()
    min_train_per_class: int = Field(5, ge=1, description="A dataset with fewer in any class is refused")
    group_by: str = Field(
        "",
        max_length=100,
        description="A key of the images' metadata: images with one value of it are on one side of the split",
        examples=["module"],
    )
    near_duplicates: Literal["together", "ignore"] = Field(
        "together", description="Whether images that look the same to a perceptual hash are kept on one side"
    )

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(_CLASSES_DIFFER)
        return self

    @property
    def former_names(self) -> dict[str, str]:
        """Former name -> today's. A name that is a class again is no longer the former name of another."""
        return {name: now for name, now in self.renamed.items() if name not in self.classes}

    def class_of(self, name: str) -> str:
        """Today's name of a class. A class of the card keeps its name, and so does what the card knows nothing of."""
        return self.former_names.get(name, name)


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


class SecondLook(Shape):
    """Labels that a model which did not see them finds unlikely come back to people."""

    most: int = Field(10, ge=0, le=1_000, description="No more of them wait for people at a time; 0 asks for none")


class Label(Shape):
    """How labels come in."""

    freeze: Freeze = Freeze()
    query: Query = Query()
    conflict: Literal["last", "majority", "agreement"] = Field(
        "last",
        description="Where several people labelled one image: the last label counts, the most frequent one (of several "
        "the one given last), or the image is left out until they agree",
    )
    second_look: SecondLook = SecondLook()


class Model(Shape):
    """How a model is made. `parameters` belong to the recipe, which checks them."""

    recipe: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")] = "frozen-features"
    parameters: dict[str, Any] = Field(default_factory=dict, description="Parameters of the recipe")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    export: Literal["torchscript", "torch-export"] = Field(
        "torchscript",
        description="torch-export: keep the model as a torch.export archive (pt2), too, where the recipe can make one",
    )


class Floor(Shape):
    """A metric and the least it may be."""

    metric: MetricName = Field(description="accuracy, macro_recall, roc_auc, recall.<class> or precision.<class>")
    at_least: float = Field(ge=0, le=1)


class Misses(Shape):
    """How many images of a class may be taken for another at most, and how sure that has to be."""

    label: ClassName
    at_most: float = Field(gt=0, le=0.99, description="Share of the images of this class", examples=[0.1])
    confidence: float = Field(
        0.95, ge=0.5, le=0.9999, description="Of the one-sided bound by Clopper and Pearson that has to stay below"
    )


class Slices(Shape):
    """What the worst part of the test images must reach: those with one value of one key of their metadata."""

    keys: tuple[str, ...] = Field(
        (), max_length=10, description="Of the images' metadata; none: every key", examples=[["camera"]]
    )
    metric: AnyMetric = Field("accuracy", description="As of a floor, or macro_f1")
    at_least: float = Field(ge=0, le=1, examples=[0.7])
    min_images: int = Field(20, ge=1, description="A slice with fewer that count is told and does not decide")


class Gates(Shape):
    """What a candidate must reach. The first model has no champion to be held against."""

    floors: tuple[Floor, ...] = (Floor(metric="accuracy", at_least=0.5),)
    compare: MetricName = Field("accuracy", description="The metric on which candidate and champion are compared")
    margin: float = Field(0.02, ge=0, le=1, description="How much worse than the champion a candidate may be")
    min_test_per_class: int = Field(5, ge=1, description="With fewer in any class a model cannot be judged")
    macro_f1_at_least: float | None = Field(
        None, ge=0, le=1, description="Floor of F1 averaged over the classes", examples=[0.7]
    )
    gain: float | None = Field(
        None, ge=0, le=1, description="Instead of margin: how much better a candidate must be", examples=[0.01]
    )
    p_value_at_most: float | None = Field(
        None, gt=0, le=1, description="A candidate must be better by a two-sided paired test", examples=[0.05]
    )
    misses: tuple[Misses, ...] = Field(
        (), description="How much of a class may be missed", examples=[[{"label": "defective", "at_most": 0.2}]]
    )
    slices: Slices | None = Field(None, description="What the worst part of the test images must reach")
    calibration_error_at_most: float | None = Field(
        None, gt=0, le=1, description="How far confidence may be from the share that is right", examples=[0.1]
    )
    size_mb_at_most: float | None = Field(
        None, gt=0, description="Of the model's file, in megabytes of 1,000,000 bytes", examples=[50.0]
    )
    better_than_guessing: bool = Field(
        True, description="A candidate must do better than always answering the commonest class"
    )
    approval: Literal["gates", "person"] = Field(
        "gates", description="Who approves a candidate that passed every gate: the gates themselves, or a person"
    )


class Watch(Shape):
    """What counts as drift while a version serves, and what follows.

    A limit of 0 asks for no least size of a change: what then counts is significance alone. A kind with null is not
    watched.
    """

    reference: int = Field(500, ge=50, le=1000, description="A version's first answers, with which others are compared")
    window: int = Field(200, ge=50, le=500, description="So many new answers are compared at a time")
    inputs: float | None = Field(
        0.02,
        ge=0,
        le=1,
        description="Distance of the pictures' embeddings; the mean distance between pictures is 1",
        examples=[0.02],
    )
    classes: float | None = Field(
        0.15, ge=0, le=1, description="Share of the answers that would have to be of another class", examples=[0.15]
    )
    confidence: float | None = Field(
        0.2, ge=0, le=1, description="Largest difference between the two distributions of confidence", examples=[0.2]
    )
    accuracy: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Least share of judged answers that is right. Only where people confirm as they correct: who "
        "looks for mistakes alone makes every model look bad",
        examples=[0.8],
    )
    judged: int = Field(50, ge=10, le=1000, description="So many judged answers are looked at a time")
    one_false_alarm_in: int = Field(
        1000, ge=20, le=2000, description="Windows without any change in which one false alarm is allowed, all kinds"
    )
    retrain: Literal["never", "when-drifting"] = "never"
    at_most_every_h: float = Field(24, ge=0.01, le=8760, description="Hours from one such training to the next")


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
    watch: Watch = Watch()

    @model_validator(mode="after")
    def _gates_name_known_classes(self) -> Self:
        gates = self.gates
        metrics = [*(floor.metric for floor in gates.floors), gates.compare]
        metrics += [gates.slices.metric] if gates.slices else []
        for metric in metrics:
            _, dot, name = metric.partition(".")
            if dot and name not in self.data.classes:
                raise ValueError(f"gates: {metric} {_GATES_NAME_CLASSES}")
        for miss in gates.misses:
            if miss.label not in self.data.classes:
                raise ValueError(f"gates.misses: {miss.label} {_GATES_NAME_CLASSES}")
        return self
