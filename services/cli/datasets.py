"""Labelled images: two real data sets that come as packages, and folders. In an order that is always the same."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from services.cli.described import NAME, described
from services.cli.errors import BadInput

T = TypeVar("T")

BUILT_IN = {"elpv": "solar", "digits": "digits"}

_SUFFIXES = (".png", ".jpg", ".jpeg")
_SEED = 0
_DEFECTIVE_FROM = 0.5
_DIGIT_SCALE = 8


@dataclass(frozen=True)
class LabelledImage:
    """Encoded bytes (PNG or JPEG) with the true class, where it is known."""

    encoded: bytes = field(repr=False)
    label: str | None
    name: str
    metadata: dict[str, str | int | float | bool] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """Of the encoded bytes: the image's identity everywhere."""
        return sha256(self.encoded).hexdigest()

    @property
    def suffix(self) -> str:
        """`png` or `jpg`, as the bytes say."""
        return "png" if self.encoded.startswith(b"\x89PNG") else "jpg"

    def without_label(self) -> "LabelledImage":
        """As a camera gives it."""
        return replace(self, label=None)


@dataclass(frozen=True)
class Folder:
    """What lies in a folder. `classes` is empty where nothing says the class of an image."""

    classes: tuple[str, ...]
    files: tuple[tuple[Path, str | None], ...]
    left_out: tuple[Path, ...]
    metadata: Mapping[Path, dict[str, str | int | float]] = field(default_factory=dict)

    def without_labels(self) -> "Folder":
        """The same files, of which nobody knows the class."""
        return replace(self, files=tuple((path, None) for path, _ in self.files))

    def images(self) -> Iterator[LabelledImage]:
        """The images, read one after the other."""
        for path, label in self.files:
            yield LabelledImage(path.read_bytes(), label, str(path), {**self.metadata.get(path, {})})


def elpv() -> Iterator[LabelledImage]:
    """2,624 photographs of solar cells, 300 x 300, as the package has them: `functional` or `defective`.

    Raises:
        BadInput: the package `elpv-dataset` is not installed.
    """
    try:
        root = files("elpv_dataset") / "data"
    except ModuleNotFoundError:
        raise BadInput("the data set elpv is not installed: pip install elpv-dataset") from None
    for row in _shuffled((root / "labels.csv").read_text("utf-8").splitlines()):
        path, probability, kind = row.split()
        label = "defective" if float(probability) >= _DEFECTIVE_FROM else "functional"
        yield LabelledImage((root / path).read_bytes(), label, path, {"type": kind})


def digits() -> Iterator[LabelledImage]:
    """1,797 handwritten digits, 8 x 8 grey values blown up to 64 x 64 pixels: `0` to `9`.

    Raises:
        BadInput: scikit-learn is not installed.
    """
    import numpy as np

    from services.chassis.images import encode_png

    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise BadInput("the data set digits comes with scikit-learn: pip install scikit-learn") from None
    found: Any = load_digits()
    for i in _shuffled(list(range(len(found.images)))):
        small = np.round(found.images[i] * (255 / 16)).astype(np.uint8)
        pixels = small.repeat(_DIGIT_SCALE, axis=0).repeat(_DIGIT_SCALE, axis=1)
        yield LabelledImage(encode_png(pixels), str(found.target[i]), f"digit-{i:04d}")


def folder(root: Path) -> Folder:
    """What is in a folder: a folder for each class, or images alone. Hidden files are passed over.

    A `metadata.csv` in it gives images metadata, and their classes where it has a column `label`.

    Raises:
        BadInput: no such folder, no images, images beside the class folders, or a `metadata.csv` that does not fit.
    """
    if not root.is_dir():
        raise BadInput(f"there is no folder {root}, and no data set of that name: {', '.join(BUILT_IN)}")
    seen = sorted(path for path in root.rglob("*") if path.is_file() and not _hidden(path, root))
    pictures = [path for path in seen if path.suffix.lower() in _SUFFIXES]
    if not pictures:
        raise BadInput(f"there is no PNG or JPEG file in {root}")
    said = described(root)
    if said.labels is None:
        labels = [path.relative_to(root).parts[0] if path.parent != root else None for path in pictures]
        loose = [path for path, label in zip(pictures, labels, strict=True) if label is None]
        if loose and len(loose) < len(pictures):
            raise BadInput(f"{loose[0]} lies beside the folders of classes: move it into one, or import a flat folder")
    else:
        labels = [said.labels.get(path) for path in pictures]
    return Folder(
        classes=tuple(sorted({label for label in labels if label})),
        files=tuple(_shuffled(list(zip(pictures, labels, strict=True)))),
        left_out=tuple(path for path in seen if path.suffix.lower() not in _SUFFIXES and path != root / NAME),
        metadata=said.metadata,
    )


def truth(source: str) -> dict[str, str]:
    """The true class by the sha256 of the image: of a built-in data set, or of a folder with a folder a class."""
    if source in BUILT_IN:
        images = elpv() if source == "elpv" else digits()
    else:
        found = folder(Path(source))
        if not found.classes:
            raise BadInput(f"{source} has no folder for each class, so it knows no true labels")
        images = found.images()
    return {image.sha256: image.label for image in images if image.label}


def _shuffled(items: list[T]) -> list[T]:
    """In random order, the same every time."""
    random.Random(_SEED).shuffle(items)
    return items


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)
