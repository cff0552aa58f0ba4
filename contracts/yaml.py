"""Writes plain data, its texts printable, as YAML. Every string is quoted as in JSON, of which YAML is a superset."""

import json
import re
from typing import Any

# Not those that YAML reads as something else than text.
_PLAIN_KEY = re.compile(r"(?!(?:true|false|yes|no|on|off|null)$)[a-z][a-z0-9_.-]*", re.IGNORECASE)


def dump(value: Any, indent: str = "") -> str:
    """Objects and lists in block style, one entry a line; ends without a newline."""
    if isinstance(value, dict) and value:
        return "\n".join(f"{indent}{_key(key)}:{_after(inner, indent)}" for key, inner in value.items())
    if isinstance(value, list) and value:
        return "\n".join(f"{indent}- {dump(inner, indent + '  ').lstrip()}" for inner in value)
    return indent + json.dumps(value, ensure_ascii=False)


def _after(value: Any, indent: str) -> str:
    nested = isinstance(value, dict | list) and value
    return f"\n{dump(value, indent + '  ')}" if nested else f" {json.dumps(value, ensure_ascii=False)}"


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
