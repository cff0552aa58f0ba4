"""Whether today's schema keeps what a published one promised: a field may be added with a default, nothing else.

Both ways follow from that one rule. Old producers: whatever fitted the published schema fits today's. Old consumers:
whatever today's model says fits the published schema, as they pass over fields that they do not know.
"""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

# What `discriminator` says, stands in the constants of the kinds as well.
_FOR_PEOPLE = {"$id", "$schema", "$defs", "$ref", "title", "description", "examples", "discriminator"}
_KINDS = ("anyOf", "oneOf")
_OF_FIELDS = {"properties", "required", "default", "items", "additionalProperties", *_KINDS}


def meaning(schema: Schema, root: Schema | None = None) -> dict[str, Any]:
    """A schema without what is only for people, its references resolved: two with one meaning accept the same."""
    root = schema if root is None else root
    found: dict[str, Any] = {}
    if "$ref" in schema:
        found = meaning(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    for key, value in schema.items():
        if key in _FOR_PEOPLE:
            continue
        if key == "properties":
            found[key] = {name: meaning(field, root) for name, field in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            found[key] = meaning(value, root)
        elif key in _KINDS:
            found[key] = [meaning(one, root) for one in value]
        else:
            found[key] = sorted(value) if key in ("required", "enum", "x-rules") else value
    return found


def breaks(published: Schema, today: Schema) -> list[str]:
    """What of a published schema today's does not keep, a sentence each; none when they are compatible."""
    return list(_breaks(meaning(published), meaning(today), ""))


def _breaks(old: Schema, new: Schema, path: str) -> list[str]:
    here = path or "the event"
    found = [
        f"{here}: {key} was {_said(old, key)}, now it is {_said(new, key)}"
        for key in sorted((old.keys() | new.keys()) - _OF_FIELDS)
        if old.get(key) != new.get(key)
    ]
    if not _same_default(old, new):
        found.append(f"{here}: default was {_said(old, 'default')}, now it is {_said(new, 'default')}")
    for key in ("items", "additionalProperties"):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _breaks(before, after, f"{path}[]")
        elif before != after:
            found.append(f"{here}: {key} was {_said(old, key)}, now it is {_said(new, key)}")
    for key in _KINDS:
        kinds, now = old.get(key, []), new.get(key, [])
        if len(kinds) != len(now):
            found.append(f"{here}: could be {len(kinds)} kinds of value, now {len(now)}")
        for was, is_ in zip(kinds, now, strict=False):
            found += _breaks(was, is_, path)
    return found + _fields_broken(old, new, path)


def _fields_broken(old: Schema, new: Schema, path: str) -> list[str]:
    was, is_ = old.get("properties", {}), new.get("properties", {})
    needed, needs = set(old.get("required", ())), set(new.get("required", ()))
    found = []
    for name, field in was.items():
        inner = f"{path}.{name}" if path else name
        if name not in is_:
            found.append(f"{inner} was removed or renamed")
            continue
        if (name in needed) != (name in needs):
            found.append(f"{inner} was {'required' if name in needed else 'optional'} and is no longer")
        found += _breaks(field, is_[name], inner)
    added = [f"{path}.{name}" if path else name for name in needs - needed - was.keys()]
    return found + [f"{name} is new and has no default" for name in sorted(added)]


def _same_default(old: Schema, new: Schema) -> bool:
    if ("default" in old) != ("default" in new):
        # That a field became optional, or no longer is, is told by `required`.
        return True
    return _covers(old.get("default"), new.get("default"))


def _covers(old: Any, new: Any) -> bool:
    """Equal, but a default that is an object may have fields more."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and _covers(value, new[name]) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_covers(a, b) for a, b in zip(old, new, strict=True))
    return type(old) is type(new) and bool(old == new)


def _said(schema: Schema, key: str) -> str:
    return repr(schema[key]) if key in schema else "not given"
