"""Versions in the model registry."""

from typing import ClassVar

from pydantic import Field

from contracts.events.base import Event, ProjectName, Shape
from contracts.events.training import TrainedModel


class ModelVersion(Shape):
    """A registered version and where it comes from."""

    name: ProjectName = Field(description="MLflow's registered model: the project's name")
    version: int = Field(ge=1, examples=[7])
    model: TrainedModel
    run_id: str = Field(examples=["6f2b0c0d3f0e4a58a0c3a7b7a2b5f0aa"])
    dataset_id: str = Field(pattern=r"^[0-9a-f]{16}$", examples=["3f1c0a9b7d2e4f60"])
    dataset_number: int = Field(ge=1, examples=[2])


class ModelRegistered(Event):
    """The candidate that passed is in the registry."""

    TYPE: ClassVar[str] = "loopline.model.registered.v1"

    version: ModelVersion


class ModelApproved(Event):
    """The version may serve. Starts the rollout; `champion` moves only when that is complete."""

    TYPE: ClassVar[str] = "loopline.model.approved.v1"

    version: ModelVersion
    approved_by: str = Field(description="`gates` or a person", examples=["gates"])
    why: str = Field(examples=["all 4 gates passed"])


class ModelPromoted(Event):
    """The version serves and carries the alias `champion`; the one before carries `previous`."""

    TYPE: ClassVar[str] = "loopline.model.promoted.v1"

    version: ModelVersion
    previous_version: int | None = Field(None, ge=1, description="Carries the alias `previous` now", examples=[6])
