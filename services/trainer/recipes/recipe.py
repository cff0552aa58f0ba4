"""What every recipe is: from a dataset to the bytes of a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.trainer.dataset import Dataset

# Stage, steps done, steps in all, metrics.
Report = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True)
class MadeModel:
    """A trained model as bytes: TorchScript, and the npz of golden images with their answers. Metrics by name."""

    model: bytes
    golden: bytes
    metrics: dict[str, float]
    max_side: int


class Reading(Protocol):
    """The blob store, as far as a recipe needs it."""

    def read(self, uri: str) -> bytes: ...


@dataclass(frozen=True)
class Context:
    """What a recipe trains in. `kept_root` is where features are kept, `seed` what all chance comes from."""

    blobs: Reading
    kept_root: str
    seed: int
    report: Report


class Train(Protocol):
    """Trains on a dataset with parameters that were checked.

    The same dataset, parameters and seed give the same bytes on one machine's CPU.
    """

    def __call__(self, dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
        """Raises `Rejected` when this dataset and these parameters can give no model."""
        ...
