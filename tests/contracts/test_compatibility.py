"""The check of compatibility itself: what breaks a promise is caught, by the schemas and by instances of them."""

from copy import deepcopy
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from contracts.compatibility import breaks
from contracts.events import EVENTS
from contracts.events.base import Shape
from tests.contracts.promises import check_old_consumers, check_old_producers

TRIES = 120


class Bulb(Shape):
    """A part of the event."""

    watts: float = Field(ge=0, le=100)
    socket: Literal["E14", "E27"] = "E27"


class LampChanged(Shape):
    """As it was published."""

    lamp: str = Field(pattern=r"^[a-z]{1,5}$")
    line: int = Field(ge=1, le=9)
    share: float | None = Field(None, ge=0, le=1)
    bulb: Bulb
    history: tuple[Bulb, ...] = Field((), max_length=3)
    tags: dict[str, int] = Field(default_factory=dict)
    why: str = Field("", max_length=10)


def variant(model: type[BaseModel], without: str = "", **fields: Any) -> type[BaseModel]:
    """A model with other fields, `name=(type, default or Field)`, and without one of its own."""
    kept = {name: (f.annotation, deepcopy(f)) for name, f in model.model_fields.items() if name != without}
    return create_model(model.__name__, __base__=Shape, __doc__=model.__doc__, **(kept | fields))


def bulb(without: str = "", **fields: Any) -> type[BaseModel]:
    """The event with another bulb."""
    other = variant(Bulb, without, **fields)
    return variant(LampChanged, bulb=(other, ...), history=(tuple[other, ...], Field((), max_length=3)))


BREAKING = {
    "a field is removed": (variant(LampChanged, "line"), "line was removed or renamed"),
    "an optional field is removed": (variant(LampChanged, "why"), "why was removed or renamed"),
    "a field is renamed": (
        variant(LampChanged, "lamp", light=(str, Field(pattern=r"^[a-z]{1,5}$"))),
        "lamp was removed",
    ),
    "an optional field is renamed": (variant(LampChanged, "why", reason=(str, "")), "why was removed"),
    "a field of a part is removed": (bulb("socket"), "bulb.socket was removed"),
    "a required field is added": (variant(LampChanged, room=(str, ...)), "room is new and has no default"),
    "a part gets a required field": (bulb(maker=(str, ...)), "bulb.maker is new and has no default"),
    "a field becomes required": (variant(LampChanged, why=(str, Field(max_length=10))), "why was optional"),
    "an upper bound is narrowed": (variant(LampChanged, line=(int, Field(ge=1, le=8))), "line: maximum was 9"),
    "an upper bound is widened": (variant(LampChanged, line=(int, Field(ge=1, le=10))), "line: maximum was 9"),
    "a bound is dropped": (bulb(watts=(float, Field(ge=0))), "bulb.watts: maximum was 100"),
    "an enumeration is narrowed": (bulb(socket=(Literal["E27"], "E27")), "bulb.socket"),
    "an enumeration is widened": (bulb(socket=(Literal["E14", "E27", "GU10"], "E27")), "bulb.socket: enum was"),
    "a pattern is narrowed": (variant(LampChanged, lamp=(str, Field(pattern=r"^[a-y]{1,2}$"))), "lamp: pattern was"),
    "a text is shorter": (variant(LampChanged, why=(str, Field("", max_length=9))), "why: maxLength was 10"),
    "a list is shorter": (
        variant(LampChanged, history=(tuple[Bulb, ...], Field((), max_length=2))),
        "history: maxItems",
    ),
    "a type is narrowed": (bulb(watts=(int, Field(ge=0, le=100))), "bulb.watts: type was 'number'"),
    "a type is widened": (variant(LampChanged, line=(float, Field(ge=1, le=9))), "line: type was 'integer'"),
    "a value may be missing": (variant(LampChanged, line=(int | None, Field(None, ge=1, le=9))), "line"),
    "a value may not be missing": (variant(LampChanged, share=(float, Field(0.5, ge=0, le=1))), "share"),
    "the values of a map change": (variant(LampChanged, tags=(dict[str, str], Field(default_factory=dict))), "tags[]"),
}
HARMLESS = {
    "nothing changes": LampChanged,
    "a field with a default is added": variant(LampChanged, room=(str, "")),
    "a part gets a field with a default": bulb(maker=(str | None, None)),
    "words for people change": variant(LampChanged, why=(str, Field("", max_length=10, description="Whatever"))),
}


@pytest.mark.parametrize("change", BREAKING)
def test_what_breaks_is_told_and_instances_show_it(change: str) -> None:
    model, sentence = BREAKING[change]
    published = LampChanged.model_json_schema()
    told = breaks(published, model.model_json_schema())
    assert any(sentence in one for one in told), told
    with pytest.raises(AssertionError):
        _try_instances(published, model)


@pytest.mark.parametrize("change", HARMLESS)
def test_what_is_harmless_is_no_break(change: str) -> None:
    published = LampChanged.model_json_schema()
    assert breaks(published, HARMLESS[change].model_json_schema()) == []
    _try_instances(published, HARMLESS[change])


def test_another_default_is_told() -> None:
    changed = bulb(socket=(Literal["E14", "E27"], "E14"))
    (part, other) = breaks(LampChanged.model_json_schema(), changed.model_json_schema())
    assert "bulb.socket: default was 'E27', now it is 'E14'" in part
    assert "history[].socket" in other


def test_a_new_rule_of_a_validator_is_told_and_instances_show_it() -> None:
    class Strict(LampChanged):
        def model_post_init(self, context: object) -> None:
            if self.line > 4:
                raise ValueError("only lines 1 to 4 have lamps")

    with pytest.raises(AssertionError, match="only lines 1 to 4"):
        check_old_producers(LampChanged.model_json_schema(), Strict, TRIES)
    ruled = LampChanged.model_json_schema() | {"x-rules": ["only lines 1 to 4"]}
    assert "x-rules" in breaks(LampChanged.model_json_schema(), ruled)[0]


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_no_field_of_an_event_can_be_removed(type_: str) -> None:
    event = EVENTS[type_]
    for name in event.model_fields:
        assert any(
            one.startswith(f"{name} was removed")
            for one in breaks(event.model_json_schema(), variant(event, name).model_json_schema())
        )


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_a_validator_of_an_event_is_a_rule_of_its_schema(type_: str) -> None:
    for model in _models(EVENTS[type_]):
        found = model.__pydantic_decorators__
        validators = [*found.model_validators, *found.field_validators, *found.root_validators, *found.validators]
        ruled = len((model.model_config.get("json_schema_extra") or {}).get("x-rules", ()))  # type: ignore[union-attr]
        assert ruled == len(validators), f"{model.__name__}: name what {validators} demand with rules(…)"


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    found, todo = {model}, [field.annotation for field in model.model_fields.values()]
    while todo:
        one = todo.pop()
        todo += getattr(one, "__args__", ())
        if isinstance(one, type) and issubclass(one, BaseModel):
            found |= _models(one)
    return found


def _try_instances(published: dict[str, Any], model: type[BaseModel]) -> None:
    check_old_producers(published, model, TRIES)
    check_old_consumers(published, model, TRIES)
