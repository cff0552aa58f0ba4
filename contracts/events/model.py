"""Versions in the model registry."""

from typing import ClassVar

from pydantic import Field

from contracts.events.base import Event, ProjectName, Sha256, Shape
from contracts.events.training import TrainedModel, TrainingPlan


class Signature(Shape):
    """A DSSE envelope over an in-toto statement: see `contracts.attestation`. Both texts are base64."""

    key_id: str = Field(description="Which key signed: the SHA-256 of its raw bytes", examples=["9f86d081884c7d65"])
    payload: str = Field(description="The statement, JSON", examples=["eyJfdHlwZSI6ICIuLi4ifQ=="])
    signature: str = Field(description="Ed25519, 64 bytes", examples=["q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83v"])


class ModelVersion(Shape):
    """A registered version and where it comes from."""

    name: ProjectName = Field(description="MLflow's registered model: the project's name")
    version: int = Field(ge=1, examples=[7])
    model: TrainedModel
    run_id: str = Field(examples=["6f2b0c0d3f0e4a58a0c3a7b7a2b5f0aa"])
    dataset_id: str = Field(pattern=r"^[0-9a-f]{16}$", examples=["3f1c0a9b7d2e4f60"])
    dataset_number: int = Field(ge=1, examples=[2])
    manifest_sha256: Sha256 | None = Field(None, description="Of the dataset's manifest: the hash of its content")
    parent_version: int | None = Field(None, ge=1, description="The champion beside which it was judged", examples=[6])
    plan: TrainingPlan | None = Field(None, description="Recipe, parameters and seed")
    code_revision: str = Field(
        "", description="Of the code that trained it, where its run names it", examples=["9c1e7f2"]
    )
    evaluation_id: str = Field(
        "", description="The event whose verdict let it in", examples=["3b0a1c5e-7f0d-5b7a-9a53-0c1f1d1c7f10"]
    )
    signature: Signature | None = Field(
        None, description="Over all fields above. What is not signed by a key that the deployer trusts never serves"
    )


class ModelRegistered(Event):
    """The candidate that passed is in the registry."""

    TYPE: ClassVar[str] = "loopline.model.registered.v1"

    version: ModelVersion


class ModelApprovalRequested(Event):
    """The version waits for a person: `loopline models approve`, or `reject`."""

    TYPE: ClassVar[str] = "loopline.model.approval-requested.v1"

    version: ModelVersion
    why: str = Field(examples=["all 4 gates passed, and the card leaves the last word to a person"])


class ModelApproved(Event):
    """The version may serve. Starts the rollout; `champion` moves only when that is complete."""

    TYPE: ClassVar[str] = "loopline.model.approved.v1"

    version: ModelVersion
    approved_by: str = Field(description="`gates` or a person", examples=["gates"])
    why: str = Field(examples=["all 4 gates passed"])
    instead_of: int | None = Field(
        None,
        ge=1,
        description="The version that it is to replace, where that is a newer one: without it an older version is "
        "taken for a late arrival and does not serve",
        examples=[8],
    )


class ModelRejected(Event):
    """A person said no to a registered version: the gates approve it no more, only a person can."""

    TYPE: ClassVar[str] = "loopline.model.rejected.v1"

    version: ModelVersion
    rejected_by: str = Field(description="Who", examples=["ines"])
    why: str = Field(examples=["it takes dust on the lens for a crack"])


class ModelDemoted(Event):
    """A person takes the version that serves out of service: the one that served before it is put back."""

    TYPE: ClassVar[str] = "loopline.model.demoted.v1"

    version: ModelVersion
    demoted_by: str = Field(description="Who", examples=["ines"])
    why: str = Field(examples=["false alarms on line 3 since this morning"])


class ModelPromoted(Event):
    """The version serves and carries the alias `champion`; the one before carries `previous`."""

    TYPE: ClassVar[str] = "loopline.model.promoted.v1"

    version: ModelVersion
    previous_version: int | None = Field(None, ge=1, description="Carries the alias `previous` now", examples=[6])
