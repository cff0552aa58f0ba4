"""Dataset versions: frozen, content-hashed, never changed."""

from typing import ClassVar, Literal

from pydantic import Field

from contracts.events.base import BlobRef, ClassName, Event, Shape


class DatasetRequested(Event):
    """Freeze the labels now, whatever the card's policy says."""

    TYPE: ClassVar[str] = "loopline.dataset.requested.v1"

    why: str = Field("", max_length=500, description="For the history")


class ClassCount(Shape):
    """Images of one class in each split."""

    label: ClassName = Field(examples=["defective"])
    train: int = Field(ge=0, examples=[90])
    validation: int = Field(ge=0, examples=[20])
    test: int = Field(ge=0, examples=[44])


class LeftOut(Shape):
    """Labelled images that are no part of the version, and why."""

    why: Literal["people-disagree", "near-duplicate", "group"] = Field(examples=["people-disagree"])
    count: int = Field(ge=1, description="How many", examples=[3])
    sentence: str = Field(
        description="Why, and what to do", examples=["3 images are left out because people do not agree on them"]
    )
    images: tuple[str, ...] = Field((), description="sha256 of the images, at most 100", max_length=100)


class Agreement(Shape):
    """How far people agree on the images that two or more of them labelled."""

    images: int = Field(ge=1, description="Images with labels of two or more people", examples=[40])
    annotators: int = Field(ge=2, description="People who labelled any of them", examples=[2])
    raw: float = Field(ge=0, le=1, description="Share of the pairs of labels that agree", examples=[0.95])
    kappa: float | None = Field(
        None, ge=-1, le=1, description="Fleiss' kappa; none where all labels are of one class", examples=[0.88]
    )


class DatasetVersioned(Event):
    """Labels were frozen into a dataset version. Starts a turn of the loop: its correlation id is minted here."""

    TYPE: ClassVar[str] = "loopline.dataset.versioned.v1"

    dataset_id: str = Field(
        description="First 16 hex digits of the manifest's content hash",
        pattern=r"^[0-9a-f]{16}$",
        examples=["3f1c0a9b7d2e4f60"],
    )
    number: int = Field(description="1 for a project's first version, then one more each time", ge=1, examples=[2])
    parent_id: str | None = Field(
        None, description="The version before", pattern=r"^[0-9a-f]{16}$", examples=["9e8d7c6b5a493827"]
    )
    manifest: BlobRef = Field(
        description="Parquet: sha256, uri, label, split, chosen, annotator, width, height; since 0.2 also group, "
        "slices (JSON text of the metadata) and perceptual_hash"
    )
    classes: tuple[ClassName, ...] = Field(
        description="The classes in the card's order", examples=[["functional", "defective"]]
    )
    counts: tuple[ClassCount, ...] = Field(description="One a class, in the order of classes")
    labels: int = Field(description="Images in this version", ge=1, examples=[400])
    new_labels: int = Field(description="Labels that are new or changed since the parent", ge=0, examples=[200])
    left_out: tuple[LeftOut, ...] = Field((), description="Labelled images that are no part of it")
    agreement: Agreement | None = Field(None, description="None where no image was labelled by two people")

    @property
    def natural_key(self) -> str:
        return self.dataset_id


class FailedCheck(Shape):
    """One data check that did not hold."""

    check: str = Field(description="Its name", examples=["too-few-of-a-class"])
    sentence: str = Field(description="What is wrong and what to do", examples=["cracked has 1 training image of 5"])
    images: tuple[str, ...] = Field((), description="sha256 of the offending images, at most 100", max_length=100)


class DatasetRejected(Event):
    """The labels cannot become a dataset version."""

    TYPE: ClassVar[str] = "loopline.dataset.rejected.v1"

    checks: tuple[FailedCheck, ...] = Field(min_length=1)
