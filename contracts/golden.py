"""One whole message of each event, as it goes over the bus: `contracts/examples/<type>.json`.

The values are the `examples=` of the models, so that they are read where the field is explained.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from contracts.envelope import Envelope, derive_id
from contracts.events.base import Event
from contracts.events.label import LabelSubmitted, LabelWithdrawn
from contracts.topology import SERVICES

PROJECT = "solar"
_AT = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
_TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class NoExample(ValueError):
    """A field has no example; the text names it."""


def message_of(event: type[Event], said_by: str) -> dict[str, Any]:
    """Subject, headers and body of the event's example, said by a service or another user of the bus.

    What people say and what Label Studio tells has no cause on the bus; whatever else a service says has one.
    """
    body = event.model_validate(example_of(event.model_json_schema(mode="validation"), event.name()))
    source = f"/services/{said_by}"
    id_ = derive_id("example", event.TYPE)
    envelope = Envelope.first(body, project=PROJECT, source=source, id=id_, time=_AT)
    if said_by in SERVICES and event not in (LabelSubmitted, LabelWithdrawn):
        cause = replace(envelope, id=derive_id("example", "cause"))
        envelope = Envelope.caused(body, by=cause, source=source, time=_AT)
    envelope = envelope.traced(_TRACEPARENT, None)
    return {"subject": envelope.subject, "headers": envelope.headers(), "body": body.model_dump(mode="json")}


def text_of(event: type[Event], said_by: str) -> str:
    """The file."""
    return json.dumps(message_of(event, said_by), indent=2, ensure_ascii=False) + "\n"


def example_of(schema: Mapping[str, Any], path: str, root: Mapping[str, Any] | None = None) -> Any:
    """A value that fits: the schema's own example, or one put together from its parts.

    Raises:
        NoExample: a field has neither an example, nor a fixed value, nor a default, nor parts.
    """
    root = root or schema
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return example_of(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], path, root)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema and schema["anyOf"][0] != {"type": "null"}:
        return example_of(schema["anyOf"][0], path, root)
    if "properties" in schema:
        return {name: example_of(field, f"{path}.{name}", root) for name, field in schema["properties"].items()}
    if schema.get("default") is not None:
        return schema["default"]
    if schema.get("type") == "array":
        return [example_of(schema["items"], f"{path}[]", root)]
    if schema.get("type") == "object":
        return {}
    raise NoExample(f"{path} has no example: give its field examples=[…]")
