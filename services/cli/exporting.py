"""A dataset version as files that others read: folders of classes, CSV, COCO."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from services.cli.errors import BadInput
from services.cli.progress import ShowProgress

if TYPE_CHECKING:
    from contracts.events.dataset import DatasetVersioned
    from services.chassis.blobs import Blobs

Row = Mapping[str, Any]

_COLUMNS = ("sha256", "uri", "label", "split", "chosen", "annotator", "width", "height", "group", "slices")


def write(blobs: "Blobs", version: "DatasetVersioned", form: str, to: Path, show: ShowProgress) -> None:
    """Write pictures and labels into the folder `to`, which is there with all of it or not at all.

    Raises:
        BadInput: the folder is not empty or cannot be written, or pictures are not in the blob store.
        Rejected: the manifest is not there, or none.
    """
    from services.chassis.manifest import read_manifest

    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadInput(f"{to} is not an empty folder: name one that is not there yet")
    rows: list[Row] = read_manifest(blobs.read(version.manifest.uri), _COLUMNS).to_pylist()
    missing = [row["uri"] for row in rows if not blobs.exists(row["uri"])]
    if missing:
        raise BadInput(f"{len(missing)} of {len(rows)} pictures are not in the blob store any more: {missing[0]} …")
    place, describe = FORMATS[form]
    with _complete(to) as folder, show("exported", len(rows)) as advance:
        for row in rows:
            path = folder / place(row)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blobs.read(row["uri"]))
            advance(1)
        describe(folder, rows, version)


@contextmanager
def _complete(to: Path) -> Iterator[Path]:
    """A folder that takes the name `to` when everything is in it, and is gone when that fails."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as beside:
            folder = Path(beside) / "export"
            folder.mkdir()
            yield folder
            if to.exists():
                to.rmdir()
            folder.rename(to)
    except OSError as error:
        raise BadInput(f"cannot write {to}: {error.strerror or error}") from None


def _file(row: Row) -> str:
    return f"{row['sha256']}.{str(row['uri']).rpartition('.')[2]}"


def _by_class(row: Row) -> str:
    """As torchvision's ImageFolder and Keras read them."""
    return f"{row['split']}/{row['label']}/{_file(row)}"


def _images(row: Row) -> str:
    return f"images/{_file(row)}"


def _nothing(folder: Path, rows: list[Row], version: "DatasetVersioned") -> None:
    """The folders say it all."""


def _csv(folder: Path, rows: list[Row], version: "DatasetVersioned") -> None:
    """`metadata.csv` with `file_name` first, as Hugging Face's imagefolder reads it; a column for each slice key."""
    slices = [json.loads(row["slices"]) for row in rows]
    keys = sorted({key for one in slices for key in one} - {*_COLUMNS, "file_name"})
    plain = [name for name in _COLUMNS if name not in ("uri", "slices")]
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(["file_name", *plain, *keys])
        for row, one in zip(rows, slices, strict=True):
            table.writerow([_images(row), *(row[name] for name in plain), *(one.get(key, "") for key in keys)])


def _coco(folder: Path, rows: list[Row], version: "DatasetVersioned") -> None:
    """`<split>.json` for each side. COCO knows boxes only: an image's class is that of a box around all of it."""
    categories = [{"id": place, "name": name} for place, name in enumerate(version.classes, 1)]
    of_class = {one["name"]: one["id"] for one in categories}
    info = {"description": f"dataset {version.number}", "version": version.dataset_id}
    for split in ("train", "validation", "test"):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for id_, row in enumerate((row for row in rows if row["split"] == split), 1):
            width, height = row["width"], row["height"]
            images.append({"id": id_, "file_name": _images(row), "width": width, "height": height})
            box = {"bbox": [0, 0, width, height], "area": width * height, "segmentation": [], "iscrowd": 0}
            annotations.append({"id": id_, "image_id": id_, "category_id": of_class[row["label"]], **box})
        whole = {"info": info, "images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(whole, ensure_ascii=False), "utf-8")


Place = Callable[[Row], str]
Describe = Callable[[Path, list[Row], "DatasetVersioned"], None]

FORMATS: Mapping[str, tuple[Place, Describe]] = {
    "folders": (_by_class, _nothing),
    "csv": (_images, _csv),
    "coco": (_images, _coco),
}
