"""`metadata.csv` beside images, as Hugging Face's imagefolder has it and `loopline dataset export` writes it."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.errors import BadInput

NAME = "metadata.csv"

# What an export says of a picture and of its place in a version is no metadata of the image.
_NOT_METADATA = {"file_name", "label", "sha256", "split", "chosen", "annotator", "width", "height", "group"}

Value = str | int | float


@dataclass(frozen=True)
class Described:
    """By path: the class where the file has a column `label`, and the values of the other columns."""

    labels: Mapping[Path, str | None] | None = None
    metadata: Mapping[Path, dict[str, Value]] = field(default_factory=dict)


def described(root: Path) -> Described:
    """What the file in a folder says; nothing where there is none. An empty cell says nothing.

    Raises:
        BadInput: it is no CSV with a column `file_name`, or names what is not in the folder.
    """
    file = root / NAME
    if not file.is_file():
        return Described()
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            table = csv.DictReader(text)
            rows = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{file} is no CSV: {error}") from None
    columns = [name for name in table.fieldnames or [] if name]
    if "file_name" not in columns:
        raise BadInput(f"{file} has no column file_name")
    paths = [root / (row["file_name"] or "") for row in rows]
    for row, path in zip(rows, paths, strict=True):
        if not path.is_file():
            raise BadInput(f"{file} names {row['file_name']}, which is not there")
    keys = [name for name in columns if name not in _NOT_METADATA]
    return Described(
        {path: row["label"] or None for path, row in zip(paths, rows, strict=True)} if "label" in columns else None,
        {path: {key: _value(row[key]) for key in keys if row[key]} for path, row in zip(paths, rows, strict=True)},
    )


def _value(text: str) -> Value:
    """A whole number, a number, or text; what would not be written that way again stays text, such as 007."""
    for kind in (int, float):
        try:
            if str(kind(text)) == text and math.isfinite(kind(text)):
                return kind(text)
        except ValueError:
            continue
    return text
