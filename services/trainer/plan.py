"""The natural key of a training: what is trained on what, not who asked or when."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def plan_hash(
    dataset_id: str,
    recipe: str,
    parameters: Mapping[str, Any],
    seed: int,
    search: Mapping[str, Any] | None = None,
) -> str:
    """The same for the same work whatever the order of its parameters, 16 hex digits."""
    parts = [dataset_id, recipe, dict(parameters), seed, *([dict(search)] if search else [])]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def all_claims(project: str) -> str:
    """The pattern of all `claim_key`s of a project."""
    return f"train.{project}.*"


def came_before(owner: str, other: str) -> bool:
    """Of two owners of claims, `<stream>:<sequence>`, whether the message of the first was stored earlier."""
    return sequence(owner) < sequence(other)


def sequence(owner: str) -> int:
    """Where in its stream the message of an owner is stored."""
    return int(owner.rpartition(":")[2])


def claim_key(project: str, plan: str, again_because_of: str | None = None) -> str:
    """The claim on the work. Whoever wants it done again names the event that says so, and gets a claim of its own."""
    if again_because_of is None:
        return f"train.{project}.{plan}"
    # An event id may come from outside and hold what a key must not.
    return f"train.{project}.{plan}-{hashlib.sha256(again_because_of.encode()).hexdigest()[:16]}"
