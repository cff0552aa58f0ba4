"""Writes what is generated from the models: `contracts/schemas/<type>.json`, one JSON Schema an event.

`python -m contracts.generate` writes, `--check` only says what differs and exits 1.
"""

import argparse
import json
import sys
from pathlib import Path

from contracts.events import EVENTS
from contracts.events.base import Event

SCHEMAS = Path(__file__).parent / "schemas"


def schema_of(event: type[Event]) -> str:
    """The JSON Schema (draft 2020-12) of an event's body; its title is the event's type."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"/contracts/schemas/{event.TYPE}.json",
        **event.model_json_schema(mode="validation"),
        "title": event.TYPE,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Generate or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a file is stale or left over")
    check = parser.parse_args().check
    wanted = {SCHEMAS / f"{type_}.json": schema_of(event) for type_, event in EVENTS.items()}
    there = set(SCHEMAS.glob("*.json"))
    stale = [path for path, text in wanted.items() if path not in there or path.read_text() != text]
    left_over = sorted(there - set(wanted))
    if check:
        for path in (*stale, *left_over):
            print(f"stale: contracts/schemas/{path.name}; run ./taskw generate", file=sys.stderr)
        return 1 if stale or left_over else 0
    SCHEMAS.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(wanted[path])
    for path in left_over:
        path.unlink()
    print(f"{len(wanted)} schemas, {len(stale)} written, {len(left_over)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
