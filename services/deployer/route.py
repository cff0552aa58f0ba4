"""What the bucket `deployments` holds for a project: the deployer writes it, every predictor watches it."""

from pydantic import Field

from contracts.events.base import ClassName, Shape
from contracts.events.deployment import NodeCheck
from contracts.events.model import ModelVersion


class Served(Shape):
    """A version that was rolled out, with all that its `deployment.completed` says."""

    version: int = Field(ge=1)
    model: str = Field(description="Triton's name of it", examples=["solar-v4"])
    classes: tuple[ClassName, ...]
    max_side: int
    registered: ModelVersion
    checks: tuple[NodeCheck, ...]
    replaces: int | None = None
    unloaded: tuple[int, ...] = ()


class Route(Shape):
    """`current` answers all traffic, `previous` stays loaded for the way back; both are on all of `nodes`."""

    current: Served
    previous: Served | None = None
    nodes: tuple[str, ...]
