"""Parameters of the recipes, as the card and a request give them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Looking(BaseModel):
    """What a recipe looks at an image with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_px: int = Field(300, ge=32, le=768, description="Side of the square that the backbone looks at, pixels")
    max_side: int = Field(512, ge=32, le=4096, description="Larger images are shrunk to this many pixels first")
    backbone: str = Field(
        "efficientnet-lite0",
        pattern=r"^(efficientnet-lite[012]|(timm|torchvision):[A-Za-z0-9_.]+)$",
        description="Pretrained network: efficientnet-lite0, 1 or 2, or timm:NAME or torchvision:NAME where you "
        "installed that library beside the trainer",
    )


class Averaging(Looking):
    """Looks at flips of an image, too."""

    views: Literal[1, 2, 4] = Field(
        1, description="Answers are averaged over this many flips of the image; 2 flips sideways, 4 upside down, too"
    )


class FrozenFeatures(Averaging):
    """A head on statistics of the maps of a pretrained, frozen backbone."""

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
    doubts: bool = Field(True, description="Look for labels that are likely wrong: five fits more on the same features")


class FineTune(Averaging):
    """The last stages of the backbone are trained with the head, then all of it for a few epochs more."""

    views: Literal[1, 2, 4] = Field(
        4, description="Answers are averaged over this many flips of the image; 2 flips sideways, 4 upside down, too"
    )
    epochs: int = Field(10, ge=1, le=1000, description="Epochs in which the last stages are trained")
    epochs_all: int = Field(2, ge=0, le=1000, description="Epochs after those, in which all stages are trained")
    frozen_stages: int = Field(
        6,
        ge=0,
        le=100,
        description="So many stages from the pixels on stay as they were until then; of "
        "EfficientNet-Lite the stem is one and each block one",
    )
    batch: int = Field(16, ge=2, le=1024, description="Images a step")
    lr: float = Field(
        3e-4, gt=0, le=1, allow_inf_nan=False, description="Highest learning rate, reached after an epoch"
    )
    weight_decay: float = Field(0.02, ge=0, le=10, allow_inf_nan=False, description="Of AdamW")
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="Share of each label that is given to all classes alike"
    )
    flips: Literal["none", "sideways", "both"] = Field(
        "both", description="Flips at random while training; none where a mirror image would be of another class"
    )
    shift: float = Field(0.02, ge=0, le=0.5, description="Shifted at random by up to this share of the side")
    brightness: float = Field(0.1, ge=0, le=1, description="Brightness and contrast vary at random by up to this share")
    class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: each class counts the same however few its images"
    )


class Tutorial(Looking):
    """PrimeHub's screw tutorial: a frozen backbone under one dense layer, trained by SGD."""

    image_px: int = Field(224, ge=32, le=768, description="Side of the square that the backbone looks at, pixels")
    lr: float = Field(0.01, gt=0, le=10, allow_inf_nan=False, description="Learning rate at first: 0.01 or 0.05")
    epochs: int = Field(25, ge=1, le=1000, description="Epochs")
    batch: int = Field(8, ge=1, le=1024, description="Images a step")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of SGD")
    divide_by: float = Field(5, ge=1, le=1000, description="The learning rate is divided by this")
    divide_at: tuple[int, ...] = Field((10, 20), description="after these many epochs")


class Anomaly(Looking):
    """What good parts look like, patch by patch; the card's first class is good, its second bad."""

    share: float = Field(0.1, gt=0, le=1, description="Share of the patches that is remembered")
    most_patches: int = Field(4000, ge=10, le=50000, description="Never remember more patches than this")
    false_alarms: float = Field(
        0.02, gt=0, lt=0.5, description="Share of good parts that may be called bad, where no bad ones are labelled"
    )
