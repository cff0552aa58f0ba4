"""What the service tells its child process, and what comes back. JSON between the two."""

from typing import Any

from contracts.events.base import BlobRef, ClassName, ProjectName, Shape
from contracts.events.training import TrainedModel, TrainingPlan


class Job(Shape):
    """A training to run, or a search. `claim` is the key of the work: one MLflow run for each.

    `owner` is the message that asks for it, the same over all its deliveries: what it had begun it goes on with.
    `helps`: take part in a search that another message owns. `exports`: keep a torch.export archive, too.
    """

    project: ProjectName
    claim: str
    plan_hash: str
    plan: TrainingPlan
    dataset_number: int
    classes: tuple[ClassName, ...]
    manifest: BlobRef
    correlation_id: str
    owner: str = ""
    helps: bool = False
    exports: bool = False


class Cancel(Shape):
    """A training that is not wanted any more, by its claim."""

    project: ProjectName
    claim: str
    reason: str


class Places(Shape):
    """Where things lie."""

    blobs_root: str
    kept_root: str
    mlflow_url: str
    studies_url: str = ""


class Made(Shape):
    """What came out of it. `parameters` are those of the model, which only a search finds."""

    run_id: str
    model: TrainedModel
    metrics: dict[str, float]
    doubts: BlobRef | None = None
    code_revision: str = ""
    parameters: dict[str, Any] | None = None
