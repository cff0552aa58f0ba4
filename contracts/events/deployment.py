"""Versions on their way to the nodes."""

from typing import ClassVar

from pydantic import Field

from contracts.events.base import Event, Shape
from contracts.events.model import ModelVersion


class DeploymentStarted(Event):
    """A rollout began."""

    TYPE: ClassVar[str] = "loopline.deployment.started.v1"

    version: ModelVersion
    nodes: tuple[str, ...] = Field(description="The Triton nodes that will have it", min_length=1, examples=[["local"]])
    replaces: int | None = Field(None, ge=1, description="The version that serves now", examples=[6])


class NodeCheck(Shape):
    """What one node answered."""

    node: str = Field(examples=["local"])
    load_s: float = Field(ge=0, description="Seconds until the model was ready", examples=[3.9])
    golden_images: int = Field(ge=0, examples=[8])
    largest_difference: float = Field(ge=0, description="Of any probability against PyTorch's", examples=[2.4e-7])


class DeploymentCompleted(Event):
    """The version answers all traffic of its project."""

    TYPE: ClassVar[str] = "loopline.deployment.completed.v1"

    version: ModelVersion
    checks: tuple[NodeCheck, ...] = Field(description="One a node")
    replaces: int | None = Field(None, ge=1, description="The version that served before", examples=[6])
    unloaded: tuple[int, ...] = Field((), description="Older versions that were taken off the nodes", examples=[[5]])


class DeploymentFailed(Event):
    """The version takes no traffic; what served before serves still."""

    TYPE: ClassVar[str] = "loopline.deployment.failed.v1"

    version: ModelVersion
    node: str = Field(description="Where it failed", examples=["local"])
    reason: str = Field(
        description="What went wrong, with its numbers, and what to do",
        examples=["solar-v7 takes no traffic: golden image 2 differs by 0.08 from PyTorch; export it again"],
    )
