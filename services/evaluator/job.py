"""What the service tells its child process, and what comes back. JSON between the two."""

from contracts.events.base import BlobRef, ClassName, ProjectName, Shape
from contracts.events.evaluation import Metrics
from contracts.events.training import TrainedModel


class Job(Shape):
    """Two models and the manifest whose test images they answer."""

    project: ProjectName
    manifest: BlobRef
    candidate: TrainedModel
    champion: TrainedModel | None


class Places(Shape):
    """Where things lie."""

    blobs_root: str
    kept_root: str


class Shared(Shape):
    """Both models asked only about the classes that both know, on the test images of those.

    With fewer than two such classes there is nothing to measure.
    """

    images: int
    only_candidate_knows: tuple[ClassName, ...]
    only_champion_knows: tuple[ClassName, ...]
    candidate: Metrics | None
    champion: Metrics | None


class Compared(Shape):
    """The candidate on all test images, and beside the champion where there is one."""

    candidate: Metrics
    shared: Shared | None
