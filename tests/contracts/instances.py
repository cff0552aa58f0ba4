"""Values that fit a JSON Schema, for the keywords that the models of this house make; another one is an error.

hypothesis-jsonschema does this for any schema, up to draft 7, and has had no release since February 2024.
"""

import re
from collections.abc import Mapping
from datetime import UTC
from math import ceil, floor
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]

_FOR_PEOPLE = {"$id", "$schema", "$defs", "title", "description", "examples", "default", "x-rules", "discriminator"}
_LARGEST = 2**53
_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-_LARGEST, _LARGEST)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)


def instances(schema: Schema, root: Schema | None = None) -> st.SearchStrategy[Any]:
    """Everything that fits, its optional fields there or not, in JSON's own types.

    Raises:
        NotImplementedError: a keyword that is not known here.
    """
    root = schema if root is None else root
    rest = {key: value for key, value in schema.items() if key not in _FOR_PEOPLE}
    if "$ref" in rest:
        return instances(root["$defs"][rest["$ref"].removeprefix("#/$defs/")], root)
    if kinds := rest.get("anyOf") or rest.get("oneOf"):
        return st.one_of([instances(one, root) for one in kinds])
    if "enum" in rest or "const" in rest:
        return st.sampled_from(rest.get("enum") or [rest["const"]])
    kind = rest.pop("type", None)
    found = _OF_TYPE[kind](rest, root)
    if rest:
        raise NotImplementedError(f"{kind} with {sorted(rest)}")
    return found


def _integers(rest: dict[str, Any], root: Schema) -> st.SearchStrategy[int]:
    return st.integers(rest.pop("minimum", -_LARGEST), rest.pop("maximum", _LARGEST))


def _numbers(rest: dict[str, Any], root: Schema) -> st.SearchStrategy[float | int]:
    above, low, high = rest.pop("exclusiveMinimum", None), rest.pop("minimum", None), rest.pop("maximum", None)
    least = low if above is None else above
    floats = st.floats(least, high, exclude_min=above is not None, allow_nan=False, allow_infinity=False)
    # A whole number is a number too, and is written without a point.
    first = -_LARGEST if least is None else ceil(least) + (above == ceil(least))
    last = _LARGEST if high is None else floor(high)
    return floats | st.integers(first, last) if first <= last else floats


def _strings(rest: dict[str, Any], root: Schema) -> st.SearchStrategy[str]:
    pattern, format_ = rest.pop("pattern", None), rest.pop("format", None)
    shortest, longest = rest.pop("minLength", 0), rest.pop("maxLength", None)
    if format_ == "date-time":
        return st.datetimes(timezones=st.just(UTC)).map(lambda time: time.isoformat())
    if format_ is not None:
        raise NotImplementedError(f"format {format_}")
    if pattern is None:
        edges = [shortest] if longest is None else [shortest, min(longest, 1_000)]
        exact = st.sampled_from(edges).map(lambda length: "x" * length)
        return exact | st.text(st.characters(codec="utf-8"), min_size=shortest, max_size=min(longest or 30, 30))
    # `$` of JSON Schema is the end and not, as Python's, also before a last newline.
    made = st.from_regex(re.compile(pattern), fullmatch=True, alphabet=st.characters(codec="utf-8"))
    return made.filter(lambda text: not text.endswith("\n"))


def _arrays(rest: dict[str, Any], root: Schema) -> st.SearchStrategy[list[Any]]:
    fewest, most = rest.pop("minItems", 0), rest.pop("maxItems", None)
    return st.lists(instances(rest.pop("items"), root), min_size=fewest, max_size=min(most or fewest + 3, fewest + 3))


def _objects(rest: dict[str, Any], root: Schema) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: instances(field, root) for name, field in rest.pop("properties", {}).items()}
    needed, more = set(rest.pop("required", ())), rest.pop("additionalProperties", None)
    if more is not None and not fields:
        fewest, most = rest.pop("minProperties", 0), rest.pop("maxProperties", 3)
        values = _ANYTHING if more is True else instances(more, root)
        return st.dictionaries(_TEXT, values, min_size=fewest, max_size=min(most, fewest + 3))
    if more is not None:
        raise NotImplementedError("fields beside additionalProperties")
    return st.fixed_dictionaries(
        {name: value for name, value in fields.items() if name in needed},
        optional={name: value for name, value in fields.items() if name not in needed},
    )


_OF_TYPE = {
    None: lambda rest, root: _ANYTHING,
    "null": lambda rest, root: st.none(),
    "boolean": lambda rest, root: st.booleans(),
    "integer": _integers,
    "number": _numbers,
    "string": _strings,
    "array": _arrays,
    "object": _objects,
}
