import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from contracts.events import EVENTS
from contracts.events.base import Event
from contracts.events.prediction import PredictionRequested
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingProgressed
from contracts.generate import EXAMPLES, SCHEMAS, schema_of
from contracts.project import ScopeCard
from services.chassis.understanding import understand

CARD = {"project": "solar", "data": {"classes": ["functional", "defective"]}}


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_the_published_schema_is_todays_and_valid(type_: str) -> None:
    text = (SCHEMAS / f"{type_}.json").read_text()
    assert text == schema_of(EVENTS[type_]), "run ./taskw generate"
    Draft202012Validator.check_schema(json.loads(text))


def test_no_schema_is_left_over() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == set(EVENTS)


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_every_field_of_every_event_is_explained_or_a_reference(type_: str) -> None:
    for name, field in EVENTS[type_].model_fields.items():
        typed = str(field.annotation)
        assert field.description or field.examples or "contracts." in typed or name.endswith("_id"), name


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_a_field_of_a_later_version_is_passed_over_at_any_depth(type_: str) -> None:
    body = json.loads((EXAMPLES / f"{type_}.json").read_text())["body"]
    known = EVENTS[type_].model_validate(body)
    later = _grown(body) | {"later": 1}
    assert understand(type_, json.dumps(later).encode()) == known
    with pytest.raises(ValidationError, match="Extra inputs"):
        EVENTS[type_].model_validate(later, extra="forbid")


def _grown(value: Any) -> Any:
    """The same with a field more in every part of an event; maps of the examples have one entry and stay."""
    if isinstance(value, dict):
        return {name: _grown(one) for name, one in value.items()} | ({"later": 1} if len(value) > 1 else {})
    return [_grown(one) for one in value] if isinstance(value, list) else value


def test_a_number_is_finite() -> None:
    with pytest.raises(ValidationError, match="finite"):
        TrainingProgressed.model_validate_json(
            '{"plan": {"dataset_id": "0000000000000000", "recipe": "x", "seed": 0}, "stage": "fit", "done": 1,'
            ' "total": 2, "metrics": {"loss": NaN}}'
        )


def test_a_type_cannot_be_defined_twice() -> None:
    with pytest.raises(TypeError, match="twice"):

        class Again(Event):
            TYPE = "loopline.training.requested.v1"


@pytest.mark.parametrize("body", [{}, {"image_base64": "aa", "image_uri": "blob://" + "0" * 64}])
def test_a_prediction_needs_exactly_one_image(body: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="one of them"):
        PredictionRequested.model_validate(body)


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "http://10.0.0.1/x.png", "blob://../../etc/passwd", "blob://ab"])
def test_an_image_outside_the_store_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError, match="image_uri"):
        PredictionRequested.model_validate({"image_uri": uri})


@pytest.mark.parametrize("project", ["../etc", "Solar", "a b", "", "x" * 41, "-a", "a-", "a.b", "a*", ">"])
def test_a_project_name_that_could_leave_its_place_is_refused(project: str) -> None:
    with pytest.raises(ValidationError, match="project"):
        ScopeCard.model_validate(CARD | {"project": project})


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({"data": {"classes": ["a"]}}, "classes"),
        ({"data": {"classes": ["a", "a"]}}, "twice"),
        ({"data": {"classes": ["a", "b"], "split": {"validation": 0.4, "test": 0.5}}}, "too little"),
        ({"gates": {"floors": [{"metric": "recall.cracked", "at_least": 0.5}]}}, "no class"),
        ({"gates": {"flors": []}}, "flors"),
        ({"gates": {"misses": [{"label": "cracked", "at_most": 0.1}]}}, "cracked names no class"),
        ({"gates": {"misses": [{"label": "defective", "at_most": 0}]}}, "greater than 0"),
        ({"gates": {"slices": {"metric": "recall.cracked", "at_least": 0.5}}}, "recall.cracked names no class"),
        ({"gates": {"slices": {"metric": "f1", "at_least": 0.5}}}, "slices.metric"),
        ({"label": {"freeze": {"quiet_s": 0}}}, "quiet_s"),
    ],
)
def test_a_wrong_card_is_refused_with_the_row_that_is_wrong(row: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        ScopeCard.model_validate(CARD | row, extra="forbid")


def test_a_short_card_is_a_whole_card() -> None:
    card = ScopeCard.model_validate(CARD)
    again = ProjectDefined.model_validate_json(ProjectDefined(card=card).model_dump_json())
    assert again.card == card
