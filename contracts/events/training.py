"""From a dataset version to a model that could serve."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from contracts.events.base import BlobRef, ClassName, Event, Shape
from contracts.search import Search


class TrainingRequested(Event):
    """Train, also when nothing is new: another recipe, other parameters, another seed, or again."""

    TYPE: ClassVar[str] = "loopline.training.requested.v1"

    dataset_id: str | None = Field(
        None,
        description="The version to train on; the newest when missing",
        pattern=r"^[0-9a-f]{16}$",
        examples=["3f1c0a9b7d2e4f60"],
    )
    recipe: str | None = Field(None, description="The card's recipe when missing", examples=["frozen-features"])
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Laid over the card's parameters", examples=[{"l2": 0.01}]
    )
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="The card's seed when missing", examples=[0])
    search: Search | None = Field(None, description="Try parameters, and give the best training as the result")
    helps: str = Field(
        "",
        max_length=200,
        description="Id of a request that was said before in the same words: only share the work on its search",
    )
    again: bool = Field(False, description="Train even when the same dataset, recipe and seed were trained already")
    unless_training: bool = Field(
        False, description="Do nothing while the project is being trained: what a schedule says"
    )
    why: str = Field("", max_length=500, description="For the history", examples=["new lamp on line 3"])


class TrainingPlan(Shape):
    """What is trained: the natural key of the work is its hash."""

    dataset_id: str = Field(pattern=r"^[0-9a-f]{16}$", examples=["3f1c0a9b7d2e4f60"])
    recipe: str = Field(examples=["frozen-features"])
    parameters: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(ge=0, examples=[0])
    search: Search | None = Field(
        None, description="Of training.completed: the search whose best training this is, `parameters` are its own"
    )


class TrainingStarted(Event):
    """A trainer took the work."""

    TYPE: ClassVar[str] = "loopline.training.started.v1"

    plan: TrainingPlan
    trainer: str = Field(description="Which replica", examples=["host-7/412"])


class TrainingProgressed(Event):
    """A step of the work is done."""

    TYPE: ClassVar[str] = "loopline.training.progressed.v1"

    plan: TrainingPlan
    stage: Literal["features", "fit", "export", "log"] = Field(description="What is being done")
    done: int = Field(ge=0, description="Steps of the stage done", examples=[120])
    total: int = Field(ge=0, description="Steps of the stage in all", examples=[400])
    metrics: dict[str, float] = Field(default_factory=dict, description="Such as loss", examples=[{"loss": 0.31}])

    @property
    def natural_key(self) -> str:
        return f"{self.stage}-{self.done}"


class TrainedModel(Shape):
    """A model ready to serve.

    `file` is TorchScript: `uint8 [N,3,H,W]` in; probabilities `[N,C]`, heat map `[N,h,w]` in 0..1 and embedding
    `[N,D]` out, all `float32`.
    """

    file: BlobRef = Field(description="TorchScript, the very bytes that Triton will load")
    golden: BlobRef = Field(
        description="npz: image_<i> uint8 [3,H,W], probabilities float32 [G,C], answered by PyTorch"
    )
    classes: tuple[ClassName, ...] = Field(
        description="In the order of the probabilities", examples=[["functional", "defective"]]
    )
    max_side: int = Field(
        description="The predictor shrinks a larger image to this many pixels first", ge=8, examples=[320]
    )
    exported: BlobRef | None = Field(
        None, description="The same as a torch.export archive (pt2), where card and recipe make one", examples=[None]
    )


class TrainingCompleted(Event):
    """A candidate exists."""

    TYPE: ClassVar[str] = "loopline.training.completed.v1"

    plan: TrainingPlan
    dataset_number: int = Field(
        ge=1, description="So that a candidate from an older dataset can be refused", examples=[2]
    )
    manifest: BlobRef
    run_id: str = Field(description="MLflow run", examples=["6f2b0c0d3f0e4a58a0c3a7b7a2b5f0aa"])
    model: TrainedModel
    metrics: dict[str, float] = Field(description="On validation", examples=[{"validation_accuracy": 0.84}])
    seconds: float = Field(ge=0, description="Wall time of the training", examples=[14.2])
    doubts: BlobRef | None = Field(
        None,
        description=(
            "npz: what models that did not train on them say of labelled images: sha256 [n], probabilities "
            "float32 [n,C], labels int64 [n], classes [C]"
        ),
        examples=[None],
    )
    code_revision: str = Field(
        "",
        description="Git commit of the code that trained, where it ran from a checkout",
        examples=["94693b1f0c2d4e5a6b7c8d9e0f1a2b3c4d5e6f70"],
    )


class TrainingFailed(Event):
    """The training cannot succeed as asked; the champion stays."""

    TYPE: ClassVar[str] = "loopline.training.failed.v1"

    plan: TrainingPlan | None = None
    reason: str = Field(
        description="What went wrong and what to do",
        examples=["no recipe is called frozn-features: it is one of frozen-features"],
    )


class TrainingCancelled(Event):
    """The training was not done, or not finished, because it is no longer wanted.

    Said by anyone but a trainer it is what stops it: whatever was asked for before and trains by this plan ends, and
    the trainer says so with this event, too. Asked for afterwards, the same is trained again.
    """

    TYPE: ClassVar[str] = "loopline.training.cancelled.v1"

    plan: TrainingPlan
    reason: str = Field(examples=["superseded by dataset version 7"])
