"""The golden examples: a whole message of each event."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from contracts.envelope import Envelope
from contracts.events import EVENTS
from contracts.events.base import Shape
from contracts.generate import EXAMPLES, SCHEMAS, main, wanted
from contracts.golden import NoExample, example_of
from contracts.permissions import USERS
from contracts.topology import SERVICES
from services.chassis.understanding import understand
from tests.contracts.test_envelope import NOW


def read(type_: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / f"{type_}.json").read_text())
    return found


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_an_example_is_a_message_that_is_understood_and_fits_its_schema(type_: str) -> None:
    message = read(type_)
    envelope = Envelope.read(message["subject"], message["headers"], stored_at=NOW, position="LOOP:1")
    assert (envelope.type, envelope.subject, envelope.headers()) == (type_, message["subject"], message["headers"])
    schema = json.loads((SCHEMAS / f"{type_}.json").read_text())
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(message["body"])
    event = understand(type_, json.dumps(message["body"]).encode())
    assert event.model_dump(mode="json") == message["body"]


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_an_example_is_said_by_someone_who_may(type_: str) -> None:
    who = read(type_)["headers"]["ce-source"].removeprefix("/services/")
    assert EVENTS[type_] in next(row for row in USERS if row.name == who).says
    caused = "ce-causationid" in read(type_)["headers"]
    assert caused <= (who in SERVICES)


def test_what_is_committed_is_what_is_generated() -> None:
    files = wanted()
    assert [path.name for path, text in files.items() if not path.exists() or path.read_text() != text] == []
    assert {*EXAMPLES.glob("*"), *SCHEMAS.glob("*")} <= set(files)


def test_a_field_without_an_example_is_named() -> None:
    class Lamp(Shape):
        watts: int = Field(ge=1)

    with pytest.raises(NoExample, match=r"lamp\.watts has no example"):
        example_of(Lamp.model_json_schema(), "lamp")


def test_check_names_what_is_stale(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    files = wanted()
    stale = next(path for path in files if path.parent == EXAMPLES)
    monkeypatch.setattr("contracts.generate.wanted", lambda: files | {stale: "something else"})
    assert main() == 1
    assert capsys.readouterr().err.splitlines() == [f"contracts/examples/{stale.name} is stale: run ./taskw generate"]
