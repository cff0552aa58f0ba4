"""Writes what is generated from the models: `schemas/`, `examples/` and `asyncapi.yaml`.

`python -m contracts.generate` writes, `--publish` also freezes schemas that are new under `published/`, and `--check`
only says what is stale, not published, or breaks what was published, and exits 1.
"""

import argparse
import json
import sys
from pathlib import Path

from contracts import publishing, yaml
from contracts.asyncapi import document
from contracts.events import EVENTS
from contracts.events.base import Event
from contracts.golden import text_of
from contracts.permissions import USERS

ROOT = Path(__file__).parent
SCHEMAS = ROOT / "schemas"
EXAMPLES = ROOT / "examples"
ASYNCAPI = ROOT / "asyncapi.yaml"


def schema_of(event: type[Event]) -> str:
    """The JSON Schema (draft 2020-12) of an event's body; its title is the event's type."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"/contracts/schemas/{event.TYPE}.json",
        **event.model_json_schema(mode="validation"),
        "title": event.TYPE,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schemas() -> dict[str, str]:
    """Type -> today's schema."""
    return {type_: schema_of(event) for type_, event in EVENTS.items()}


def wanted() -> dict[Path, str]:
    """Every generated file and its text."""
    examples = {EXAMPLES / f"{type_}.json": text_of(event, _sayer(event)) for type_, event in EVENTS.items()}
    head = "# Generated from the models: ./taskw generate\n"
    return {
        **{SCHEMAS / f"{type_}.json": text for type_, text in schemas().items()},
        **examples,
        ASYNCAPI: f"{head}{yaml.dump(document({row.name: row.says for row in USERS}))}\n",
    }


def _sayer(event: type[Event]) -> str:
    """The first of those who may say it."""
    return next(row.name for row in USERS if event in row.says)


def main() -> int:
    """Generate or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a file is not as it should be")
    parser.add_argument("--publish", action="store_true", help="also freeze the schemas that are new")
    arguments = parser.parse_args()
    files = wanted()
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    left_over = sorted({*SCHEMAS.glob("*.json"), *EXAMPLES.glob("*.json")} - set(files))
    wrong = publishing.damaged() + publishing.broken(schemas())
    if arguments.check:
        wrong += [f"contracts/{path.relative_to(ROOT)} is stale: run ./taskw generate" for path in (*stale, *left_over)]
        wrong += [
            f"{type_} is not published as it is today: when it is finished, run python -m contracts.generate --publish"
            for type_ in publishing.unpublished(schemas())
        ]
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    if arguments.check or (arguments.publish and wrong):
        return 1 if wrong else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(files[path])
    for path in left_over:
        path.unlink()
    published = publishing.publish(schemas()) if arguments.publish else []
    print(f"{len(files)} files, {len(stale)} written, {len(left_over)} removed, {len(published)} schemas published")
    return 0


if __name__ == "__main__":
    sys.exit(main())
