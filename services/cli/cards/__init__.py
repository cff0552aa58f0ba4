"""Scope cards: those that come with the built-in data sets, and those that people write."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from contracts.project import Data, ScopeCard
from services.chassis.errors import explain
from services.cli.errors import BadInput


def load_card(name: str) -> ScopeCard:
    """The card of a built-in data set: `solar` or `digits`."""
    return parse_card((files(__name__) / f"{name}.yaml").read_text("utf-8"), name)


def read_card(path: Path) -> ScopeCard:
    """The card in a YAML or JSON file.

    Raises:
        BadInput: no such file, no YAML, or a row that is not as a card has it; the text names the row.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    return parse_card(text, str(path))


def parse_card(text: str, source: str) -> ScopeCard:
    """A card from YAML, of which JSON is a part. `source` stands before what is wrong."""
    try:
        rows: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"{source} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(rows, dict):
        raise BadInput(f"{source} is no scope card: it needs rows such as project: and data:")
    try:
        card = ScopeCard.model_validate(rows, extra="forbid")
    except ValidationError as error:
        raise BadInput(f"{source}: {explain(error)}") from None
    _check_renamed(card.data, source)
    return card


def _check_renamed(data: Data, source: str) -> None:
    """Not the model's to check: a card that was published says nothing of it, and means something all the same."""
    for old, new in data.renamed.items():
        if old in data.classes:
            raise BadInput(f"{source}: data.renamed: {old} is still a class: take it off data.classes")
        if new not in data.classes:
            raise BadInput(f"{source}: data.renamed: {old} leads to {new}, which is no class: put it on data.classes")


def card_for(project: str, classes: Sequence[str]) -> ScopeCard:
    """A card with these classes and every other row at its default.

    Raises:
        BadInput: they are fewer than two, or one has a name that no class can have.
    """
    try:
        return ScopeCard(project=project, data=Data(classes=tuple(classes)))
    except ValidationError as error:
        raise BadInput(f"these folders make no classes: {explain(error)}") from None


def as_yaml(card: ScopeCard) -> str:
    """A card as people write it, every row spelled out."""
    return yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
