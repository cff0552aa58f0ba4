"""Tasks and the labels on them, as Label Studio's part of the loop sees them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

_SHA256 = re.compile(r"[0-9a-f]{64}")
CHOSEN = ("random", "uncertain", "corrected")

# Group and slice keys of an image.
Metadata = Mapping[str, str | int | float | bool]


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
    """An image to label and what was said about it. Width and height in pixels.

    `second_look_since` is the latest change of its annotations when it was given back to people, where it was.
    """

    id: int
    sha256: str
    uri: str
    chosen: str
    width: int
    height: int
    updated_at: datetime
    annotations: tuple[Annotation, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    second_look_since: datetime | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this service made it: a task that somebody put in by hand has no image of the blob store."""
        return bool(_SHA256.fullmatch(self.sha256)) and bool(self.uri) and self.chosen in CHOSEN


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
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True)
class MadeTask:
    """A task that exists: its id, the fact that it was made for, and the id of the label it came with, or "".

    `guessed` says that it shows what a model answered.
    """

    id: int
    event: str
    label_id: str = ""
    guessed: bool = False


def guess_of(metadata: Metadata, classes: tuple[str, ...], class_of: Callable[[str], str]) -> Guess | None:
    """The model's answer that an image's metadata tell of (`predicted`, `confidence`, `model_version`).

    `class_of` gives today's name of a class. None where there is no answer, or it names a class that cannot be chosen.
    """
    label, score = metadata.get("predicted"), metadata.get("confidence", 0.0)
    if not isinstance(label, str) or class_of(label) not in classes or isinstance(score, bool | str):
        return None
    return Guess(class_of(label), float(score), str(metadata.get("model_version", "")) or "unknown")
