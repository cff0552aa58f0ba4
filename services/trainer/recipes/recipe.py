"""What every recipe is: from a dataset to the bytes of a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.trainer.dataset import Dataset, Example

# Stage, steps done, steps in all, metrics.
Report = Callable[[str, int, int, dict[str, float]], None]


class Pruned(Exception):
    """This trial of a search is not worth going on with. A recipe lets it pass."""


@dataclass(frozen=True)
class Validated:
    """What the model says of the validation images: `probabilities` float32 [n, C], in the order of `examples`."""

    examples: tuple[Example, ...]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class MadeModel:
    """A trained model as bytes: TorchScript, and the npz of golden images with their answers. Metrics by name.

    `eager` is the module that `model` was made of, on the CPU and in eval mode: the trainer holds the two against each
    other. `exported` is the same model as a `torch.export` archive (pt2); where it is wanted and missing, the trainer
    makes it of `eager`. `doubts` is an npz of what models that did not train on them say of labelled images: `sha256`
    [n], `probabilities` float32 [n, C], `labels` int64 [n], `classes` [C].
    """

    model: bytes
    golden: bytes
    metrics: dict[str, float]
    max_side: int
    validated: Validated | None = None
    eager: Callable[..., Any] | None = None
    exported: bytes | None = None
    doubts: bytes | None = None


class Reading(Protocol):
    """The blob store, as far as a recipe needs it."""

    def read(self, uri: str) -> bytes: ...


class Checkpoint(Protocol):
    """Where a training goes on after it was killed. What was saved for other work, or is damaged, is never loaded."""

    def load(self) -> bytes | None:
        """What was saved last, or None at the beginning."""
        ...

    def save(self, data: bytes) -> None:
        """Keep all that the next step depends on: weights, optimiser, schedule, state of chance, steps done."""
        ...


class Unkept:
    """A checkpoint that is not kept: every training begins at its beginning."""

    def load(self) -> bytes | None:
        return None

    def save(self, data: bytes) -> None:
        return


_UNKEPT = Unkept()


@dataclass(frozen=True)
class Context:
    """What a recipe trains in. `kept_root` is where features are kept, `seed` what all chance comes from."""

    blobs: Reading
    kept_root: str
    seed: int
    report: Report
    checkpoint: Checkpoint = _UNKEPT
    log_epoch: Callable[[int, Mapping[str, float]], None] = lambda done, metrics: None

    def epoch(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """An epoch (or what a recipe counts as one) is done, `done` of `total`, counted from 1.

        Said before its checkpoint is saved: who is killed in between does it again, and it is logged once.

        Raises:
            Pruned: the trial is to end here.
        """
        self.report("fit", done, total, dict(metrics))
        self.log_epoch(done, metrics)


class Train(Protocol):
    """Trains on a dataset with parameters that were checked.

    The same dataset, parameters and seed give the same bytes on one machine's CPU, also when it is killed and goes on
    from its checkpoint.
    """

    def __call__(self, dataset: Dataset, parameters: Mapping[str, Any], context: Context) -> MadeModel:
        """Raises `Rejected` when this dataset and these parameters can give no model."""
        ...
