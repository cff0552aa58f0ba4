"""What the handlers need from outside, named by need."""

from typing import Any, Protocol, TypeVar

from contracts.envelope import Envelope
from contracts.events.base import Event
from services.registry.domain import Aliases

E = TypeVar("E", bound=Event)


class NoSuchVersion(Exception):
    """The store has no such version: somebody deleted it."""


class NoSuchRun(Exception):
    """The store has no such run, so that no version can point to it."""


class VersionStore(Protocol):
    """Versions of a project's model, their lineage and their aliases."""

    async def find(self, project: str, run_id: str, model_sha256: str) -> tuple[int, dict[str, str]] | None:
        """The version made from this model of this run, with its tags."""
        ...

    async def create(self, project: str, run_id: str, tags: dict[str, str], description: str) -> int:
        """A new version whose source is the run's `model.pt`. Raises NoSuchRun."""
        ...

    async def aliases(self, project: str) -> Aliases:
        """Who carries which alias."""
        ...

    async def set_alias(self, project: str, alias: str, version: int) -> None:
        """Move an alias. Raises NoSuchVersion."""
        ...


class Said(Protocol):
    """What was said on the bus last."""

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None:
        """The last event of a type about a project."""
        ...


class Claims(Protocol):
    """Who does a piece of work, then its result; see the chassis."""

    async def take(self, key: str, owner: str) -> dict[str, Any] | None:
        """None: it is yours to do. Otherwise its result. Raises Busy."""
        ...

    async def finish(self, key: str, owner: str, result: dict[str, Any]) -> None:
        """Keep the result."""
        ...

    async def release(self, key: str, owner: str) -> None:
        """Give it back undone."""
        ...
