"""What the service tells its child process, and what comes back. JSON between the two."""

from pydantic import Field

from contracts.events.base import BlobRef, ClassName, ProjectName, Shape
from contracts.events.evaluation import Comparison, Metrics, SliceMetrics
from contracts.events.training import TrainedModel


class Job(Shape):
    """Two models and the manifest whose test images they answer.

    They are compared by the metric `compare`. Slices are scored by `slice_metric`, of the metadata's `slice_keys`, or
    of all. `renamed` says how the classes of an older model or manifest are called today.
    """

    project: ProjectName
    manifest: BlobRef
    candidate: TrainedModel
    champion: TrainedModel | None
    compare: str = "accuracy"
    slice_metric: str = "accuracy"
    slice_keys: tuple[str, ...] = ()
    renamed: dict[str, str] = Field(default_factory=dict)


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
    comparison: Comparison | None = None


class Compared(Shape):
    """The candidate on all test images, and beside the champion where there is one."""

    candidate: Metrics
    shared: Shared | None
    slices: tuple[SliceMetrics, ...] = ()
