"""The AsyncAPI document: valid, complete, and of one mind with topology and permissions."""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from contracts.events import EVENTS
from contracts.generate import ASYNCAPI
from contracts.permissions import USERS
from contracts.topology import CONSUMERS
from contracts.yaml import dump

# AsyncAPI's own JSON Schemas, Apache-2.0: only on npm, and 400 KB, so they are fetched and not kept here.
_PACKAGE, _SHA256 = "@asyncapi/specs@6.11.1", "01af8744dc33c0c7eb2e908f6a955319ee58b70ecadc9387d1aeb16c0cd28928"
_KEPT = Path(__file__).parents[2] / "var" / "asyncapi" / "6.11.1.tgz"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(ASYNCAPI.read_text())
    return found


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """AsyncAPI 3.0's schema."""
    if not _KEPT.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"needs npm to fetch {_PACKAGE}")
        _KEPT.parent.mkdir(parents=True, exist_ok=True)
        fetched = subprocess.run(
            [npm, "pack", "--silent", _PACKAGE], cwd=_KEPT.parent, capture_output=True, text=True, timeout=60
        )
        if fetched.returncode:
            pytest.skip(f"npm cannot fetch {_PACKAGE}: {fetched.stderr.strip()[:200]}")
        (_KEPT.parent / fetched.stdout.strip()).replace(_KEPT)
    assert hashlib.sha256(_KEPT.read_bytes()).hexdigest() == _SHA256, f"{_KEPT} is not {_PACKAGE}: remove it"
    with tarfile.open(_KEPT) as archive:
        file = archive.extractfile("package/schemas/3.0.0.json")
        assert file
        found: dict[str, Any] = json.load(file)
    return found


def test_it_is_valid_asyncapi_3(document: dict[str, Any], schema: dict[str, Any]) -> None:
    validator = Draft7Validator(schema)
    assert [error.message[:300] for error in validator.iter_errors(document)] == []
    # The schema does tell right from wrong.
    assert not validator.is_valid(document | {"operations": {"x": {"action": "shout", "channel": {"$ref": "#/x"}}}})
    assert not validator.is_valid({**document, "channels": {"x": {"adress": "loopline.x"}}})


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = _references(document)
    assert len(references) > len(EVENTS)
    for reference in references:
        file, _, path = reference.partition("#")
        if file:
            assert (ASYNCAPI.parent / file).is_file(), reference
            continue
        node: Any = document
        for part in path.strip("/").split("/"):
            node = node[part]
    for message in document["components"]["messages"].values():
        assert "x-example" not in message or (ASYNCAPI.parent / message["x-example"]).is_file()


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [value for key, value in node.items() if key == "$ref"] + [
            one for value in node.values() for one in _references(value)
        ]
    return [one for value in node for one in _references(value)] if isinstance(node, list) else []


def test_every_event_has_its_subject_and_every_parameter_is_explained(document: dict[str, Any]) -> None:
    for type_, event in EVENTS.items():
        channel = document["channels"][event.name()]
        assert channel["address"] == event.subject("{project}")
        assert type_ in channel["messages"]
    for channel in document["channels"].values():
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"])


def test_operations_are_those_of_topology_and_permissions(document: dict[str, Any]) -> None:
    told: dict[str, set[tuple[str, str]]] = {"send": set(), "receive": set()}
    for name, operation in document["operations"].items():
        who, action, event = name.split(".", 2)
        assert action == operation["action"]
        channel = operation["channel"]["$ref"]
        assert channel == f"#/channels/{event}"
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])
        told[action].add((who, event))
    assert told["send"] == {(row.name, event.name()) for row in USERS for event in row.says}
    heard = {(row.service, event.name()) for row in CONSUMERS for event in row.hears}
    assert told["receive"] == heard | {("predictor", "ask.predict")}


_TEXT = st.sampled_from(["no", "Null", "on", "1", "a: b", "- a", "#"]) | st.text(
    st.characters(min_codepoint=32, max_codepoint=126), max_size=30
)
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(_PLAIN)
def test_what_is_written_as_yaml_is_read_as_the_same(value: Any) -> None:
    assert yaml.safe_load(dump(value)) == value
