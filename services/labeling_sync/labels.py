"""Tasks and the labels on them, as Label Studio's part of the loop sees them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

_SHA256 = re.compile(r"[0-9a-f]{64}")
CHOSEN = ("random", "uncertain", "corrected")


@dataclass(frozen=True)
class Annotation:
    """What one person said about one image, once. `label` is None where it names no class, or several."""

    id: int
    label: str | None
    skipped: bool
    annotator: str
    lead_time_s: float | None
    updated_at: datetime

    @property
    def counts(self) -> bool:
        """Whether it says what the image shows."""
        return self.label is not None and not self.skipped


@dataclass(frozen=True)
class Task:
    """An image to label and what was said about it. Width and height in pixels."""

    id: int
    sha256: str
    uri: str
    chosen: str
    width: int
    height: int
    updated_at: datetime
    annotations: tuple[Annotation, ...] = ()

    @property
    def label(self) -> Annotation | None:
        """The annotation that counts: of several the latest. A skipped one, an empty one and a deleted one do not."""
        return latest(self.annotations)

    @property
    def is_ours(self) -> bool:
        """Whether this service made it: a task that somebody put in by hand has no image of the blob store."""
        return bool(_SHA256.fullmatch(self.sha256)) and bool(self.uri) and self.chosen in CHOSEN


def latest(annotations: Iterable[Annotation]) -> Annotation | None:
    """Of the annotations that count the last one."""
    return max((one for one in annotations if one.counts), key=lambda one: (one.updated_at, one.id), default=None)


@dataclass(frozen=True)
class Guess:
    """What a model answered: shown to the person who labels. `score` is the probability of `label`."""

    label: str
    score: float
    model_version: str


@dataclass(frozen=True)
class GivenLabel:
    """A label that somebody gave elsewhere. `id` (a UUID) is the same however often it is given."""

    id: str
    label: str
    by: str


@dataclass(frozen=True)
class NewTask:
    """A task to be made. `event` is the id of the fact that asks for it; `metadata` are group and slice keys."""

    sha256: str
    uri: str
    chosen: str
    width: int
    height: int
    event: str
    label: GivenLabel | None = None
    guess: Guess | None = None
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class MadeTask:
    """A task that exists: its id, the fact that it was made for, and the id of the label it came with, or "".

    `guessed` says that it shows what a model answered.
    """

    id: int
    event: str
    label_id: str = ""
    guessed: bool = False


def guess_of(metadata: Mapping[str, str | int | float | bool], classes: tuple[str, ...]) -> Guess | None:
    """The model's answer that an image's metadata tell of (`predicted`, `confidence`, `model_version`).

    None where there is none, or where it names a class that cannot be chosen.
    """
    label, score = metadata.get("predicted"), metadata.get("confidence", 0.0)
    if not isinstance(label, str) or label not in classes or isinstance(score, bool | str):
        return None
    return Guess(label, float(score), str(metadata.get("model_version", "")) or "unknown")
