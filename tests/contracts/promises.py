"""Two promises of a published schema, tried with instances: old producers are understood, old consumers understand."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, Phase, assume, given, settings
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from tests.contracts.instances import instances

Schema = Mapping[str, Any]


def check_old_producers(published: Schema, model: type[BaseModel], tries: int) -> None:
    """What fits the published schema is accepted by today's model, and nothing of it is lost.

    Raises AssertionError with an instance for which that does not hold.
    """
    understood = 0

    @_trying(tries)
    @given(instances(published))
    def understands(said: Any) -> None:
        nonlocal understood
        try:
            event = model.model_validate_json(json.dumps(said))
        except ValidationError as error:
            unruly = [problem for problem in error.errors() if not _is_a_published_rule(problem, published)]
            assert not unruly, f"{unruly[0]['loc']}: {unruly[0]['msg']} in {said}"
            return
        understood += 1
        lost = _lost(said, event.model_dump(mode="json"))
        assert not lost, f"{lost} of {said} is lost"

    understands()
    # Rules that no schema expresses must leave enough to tell from "everything is refused".
    assert understood >= tries / 20, f"only {understood} instances were to be understood"


def check_old_consumers(published: Schema, model: type[BaseModel], tries: int) -> None:
    """What today's model says fits the published schema. Consumers pass over fields that they do not know."""
    consumer = Draft202012Validator(published)
    today = model.model_json_schema(mode="validation")

    @_trying(tries)
    @given(instances(today))
    def is_understood(said: Any) -> None:
        try:
            body = model.model_validate_json(json.dumps(said)).model_dump_json()
        except ValidationError as error:
            assume(not error)
        problem = next(consumer.iter_errors(json.loads(body)), None)
        assert problem is None, f"{list(problem.path)}: {problem.message} in {body}"

    is_understood()


def _trying(tries: int) -> settings:
    return settings(
        max_examples=tries,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def _is_a_published_rule(problem: Any, published: Schema) -> bool:
    """Whether a validator refused it for a reason that the published schema names where it refused."""
    if problem["type"] != "value_error":
        return False
    node: Any = published
    for part in problem["loc"]:
        node = _resolved(node, published)
        node = node["items"] if isinstance(part, int) else _inside(node, part, published)
    node = _resolved(node, published)
    return any(rule in problem["msg"] for rule in node.get("x-rules", ()))


def _inside(node: Any, part: str, root: Schema) -> Any:
    """What is behind a name: a field, a kind of a union that tells its kinds apart, or the value under any key."""
    node = _resolved(next((one for one in node.get("anyOf", ()) if one.get("type") != "null"), node), root)
    if "discriminator" in node:
        return {"$ref": node["discriminator"]["mapping"][part]}
    return node["properties"][part] if "properties" in node else node["additionalProperties"]


def _resolved(node: Any, root: Schema) -> Any:
    return root["$defs"][node["$ref"].removeprefix("#/$defs/")] if "$ref" in node else node


def _lost(said: Any, kept: Any) -> str:
    """The first field that was said and is not kept."""
    if isinstance(said, dict) and isinstance(kept, dict):
        for name, value in said.items():
            if name not in kept:
                return name
            if inner := _lost(value, kept[name]):
                return f"{name}.{inner}"
    if isinstance(said, list) and isinstance(kept, list):
        return next((lost for one, other in zip(said, kept, strict=True) if (lost := _lost(one, other))), "")
    return ""
