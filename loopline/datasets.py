"""A dataset version as numpy arrays and paths: the very pixels, labels and splits that the loop itself trains on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.events.base import BlobRef
from contracts.events.dataset import DatasetVersioned
from contracts.events.project import ProjectDefined
from loopline.reaching import LooplineSettings, Refused, on_the_bus
from services.chassis.blobs import Blobs
from services.chassis.client import Client
from services.chassis.images import BadImage, decode, shrink
from services.chassis.manifest import read_manifest

SPLITS = ("train", "validation", "test")
_COLUMNS = ("sha256", "uri", "label", "split")
_THREADS = 4

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Part(Sequence[tuple[Pixels, int]]):
    """One split, in the order of the images' sha256. `part[i]` is an image and its label: torch's DataLoader takes it.

    `labels` are int64 [n], places in the dataset's `classes`.
    """

    sha256: tuple[str, ...] = field(repr=False)
    uris: tuple[str, ...] = field(repr=False)
    labels: Labels = field(repr=False)
    max_side: int
    blobs: Blobs = field(repr=False)

    def __len__(self) -> int:
        return len(self.uris)

    def __getitem__(self, index: Any) -> Any:
        """uint8 [3, H, W], RGB and upright, no side over `max_side`, and its label. A slice gives a list of such pairs.

        Raises:
            Refused: the image is damaged; BlobMissing: it is not in the blob store.
        """
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        try:
            return shrink(decode(self.blobs.read(self.uris[index])), self.max_side), int(self.labels[index])
        except BadImage as error:
            raise Refused(f"image {self.sha256[index][:12]} is unreadable, take its label away: {error}") from error

    def __iter__(self) -> Iterator[tuple[Pixels, int]]:
        return (self[place] for place in range(len(self)))

    def images(self) -> Pixels:
        """All images, uint8 [n, 3, H, W].

        Raises:
            Refused: they are not of one size; then go through the part one by one and let the model resize.
        """
        with ThreadPoolExecutor(_THREADS) as threads:
            found = [image for image, _ in threads.map(self.__getitem__, range(len(self)))]
        if len(sizes := Counter(image.shape[1:] for image in found)) > 1:
            shown = ", ".join(f"{height}x{width}" for height, width in list(sizes)[:3])
            raise Refused(
                f"the images have {len(sizes)} sizes ({shown} …) and make no array: take them one by one, "
                "`for image, label in part`, and let the model resize them in its own graph"
            )
        return np.stack(found) if found else np.zeros((0, 3, 1, 1), np.uint8)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files as they were imported, not shrunk.

        Raises:
            Refused: the blob store is no folder.
        """
        paths = [self.blobs.local_path(uri) for uri in self.uris]
        if any(path is None for path in paths):
            raise Refused("the blob store is an object store, so there are no paths: use images(), or part[i]")
        return tuple(path for path in paths if path is not None)


@dataclass(frozen=True)
class Dataset:
    """A frozen dataset version. Choose by `validation`; `test` is what the evaluator judges on, so leave it to it.

    `classes` are in the order of the labels, and so of the probabilities that a model must answer.
    """

    project: str
    dataset_id: str
    number: int
    classes: tuple[str, ...]
    max_side: int
    train: Part
    validation: Part
    test: Part
    manifest: BlobRef = field(repr=False)

    def examples(self, most: int) -> list[Pixels]:
        """At most `most` images to try a model on, the classes in turn: of test before validation before train."""
        found: list[Pixels] = []
        for part in (self.test, self.validation, self.train):
            by_class = [np.flatnonzero(part.labels == label).tolist() for label in range(len(self.classes))]
            for turn in range(max(map(len, by_class), default=0)):
                chosen = [places[turn] for places in by_class if turn < len(places)]
                found += [part[place][0] for place in chosen[: most - len(found)]]
        return found


def dataset(project: str, dataset_id: str | None = None, *, max_side: int = 512) -> Dataset:
    """The newest dataset version of a project, or the one of that id. Larger images are shrunk to `max_side` pixels.

    Raises:
        Refused: no such project or version.
        Unreachable, NotAllowed: the bus does not answer, or not to this user.
        Rejected, Away: the manifest is gone, or the blob store.
    """

    async def asked(client: Client) -> DatasetVersioned:
        if await client.last(ProjectDefined, project) is None:
            known = ", ".join(await client.projects()) or "none yet"
            raise Refused(f"the project {project} is not defined (defined: {known}): loopline project apply FILE")
        found = None
        async for event, _, _ in client.read(DatasetVersioned, project):
            if dataset_id in (None, event.dataset_id):
                found = event
        if found is None and dataset_id is None:
            raise Refused(f"{project} has no dataset version yet: label images, or loopline dataset request")
        if found is None:
            raise Refused(f"{project} has no dataset version {dataset_id}: leave it out for the newest")
        return found

    version, blobs = on_the_bus(asked), Blobs(LooplineSettings().blobs_root, make=False)
    rows = read_manifest(blobs.read(version.manifest.uri), _COLUMNS).to_pylist()
    parts = {split: part_of(rows, split, version.classes, max_side, blobs) for split in SPLITS}
    return Dataset(
        project=project,
        dataset_id=version.dataset_id,
        number=version.number,
        classes=version.classes,
        max_side=max_side,
        manifest=version.manifest,
        **parts,
    )


def part_of(
    rows: list[dict[str, Any]],
    split: str,
    classes: tuple[str, ...],
    max_side: int,
    blobs: Blobs,
) -> Part:
    """The part of a split, from rows of a manifest. Raises Refused where one names a class that is not known."""
    chosen = sorted((row for row in rows if row["split"] == split), key=lambda row: str(row["sha256"]))
    unknown = sorted({row["label"] for row in chosen} - set(classes))
    if unknown:
        raise Refused(f"the manifest has the class {unknown[0]}, which its version does not name: freeze a new one")
    return Part(
        sha256=tuple(row["sha256"] for row in chosen),
        uris=tuple(row["uri"] for row in chosen),
        labels=np.array([classes.index(row["label"]) for row in chosen], np.int64),
        max_side=max_side,
        blobs=blobs,
    )
