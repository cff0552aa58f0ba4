"""`contracts/published/`: every schema that was ever published, `<type>.<revision>.json`, frozen.

Files are only added. `SHA256SUMS` lists them in the order of publication, and `sha256sum -c` checks it.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.compatibility import breaks, meaning

PUBLISHED = Path(__file__).parent / "published"
_LIST = "SHA256SUMS"


def revisions(folder: Path = PUBLISHED) -> dict[str, list[dict[str, Any]]]:
    """Type -> its published schemas, the first one first."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, name in _listed(folder):
        found[name.removesuffix(".json").rpartition(".")[0]].append(json.loads((folder / name).read_text()))
    return dict(found)


def damaged(folder: Path = PUBLISHED) -> list[str]:
    """Published files that were changed, removed, or added past the list; a sentence each."""
    listed = _listed(folder)
    found = [
        f"{name} was {'changed' if (folder / name).exists() else 'removed'}: a published schema is frozen"
        for digest, name in listed
        if not (folder / name).exists() or _digest((folder / name).read_text()) != digest
    ]
    extra = {path.name for path in folder.glob("*.json")} - {name for _, name in listed}
    return found + [f"{name} is not in {_LIST}: only --publish adds files here" for name in sorted(extra)]


def broken(today: Mapping[str, str], folder: Path = PUBLISHED) -> list[str]:
    """Promises of published schemas that today's, type -> text, do not keep; a sentence each."""
    found = []
    for type_, published in revisions(folder).items():
        if type_ not in today:
            found.append(f"{type_} was published and is gone: whoever hears or says it would break")
            continue
        told = [sentence for schema in published for sentence in breaks(schema, json.loads(today[type_]))]
        found += [f"{type_}: {sentence}: say it as a new version instead" for sentence in dict.fromkeys(told)]
    return found


def unpublished(today: Mapping[str, str], folder: Path = PUBLISHED) -> list[str]:
    """Types whose meaning today is not that of the last published schema."""
    known = revisions(folder)
    return [
        type_
        for type_, text in today.items()
        if type_ not in known or meaning(known[type_][-1]) != meaning(json.loads(text))
    ]


def publish(today: Mapping[str, str], folder: Path = PUBLISHED) -> list[str]:
    """Freeze what is new; returns the names of the files. The caller has seen that nothing is damaged or broken."""
    known = revisions(folder)
    written = []
    folder.mkdir(exist_ok=True)
    with (folder / _LIST).open("a") as listing:
        for type_ in unpublished(today, folder):
            name = f"{type_}.{len(known.get(type_, ())) + 1}.json"
            (folder / name).write_text(today[type_])
            listing.write(f"{_digest(today[type_])}  {name}\n")
            written.append(name)
    return written


def _listed(folder: Path) -> list[tuple[str, str]]:
    path = folder / _LIST
    lines = path.read_text().splitlines() if path.exists() else []
    return [(digest, name) for digest, _, name in (line.partition("  ") for line in lines)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
