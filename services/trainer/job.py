"""What the service tells its child process, and what comes back. JSON between the two."""

from contracts.events.base import BlobRef, ClassName, ProjectName, Shape
from contracts.events.training import TrainedModel, TrainingPlan


class Job(Shape):
    """A training to run. `claim` is the key of the work: one MLflow run for each."""

    project: ProjectName
    claim: str
    plan_hash: str
    plan: TrainingPlan
    dataset_number: int
    classes: tuple[ClassName, ...]
    manifest: BlobRef
    correlation_id: str


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


class Made(Shape):
    """What came out of it."""

    run_id: str
    model: TrainedModel
    metrics: dict[str, float]
