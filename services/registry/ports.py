"""What the handlers need from outside, named by need."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from contracts.envelope import Envelope
from contracts.events.base import BlobRef, Event
from contracts.events.model import ModelVersion
from services.registry.domain import Aliases

E = TypeVar("E", bound=Event)


class NoSuchVersion(Exception):
    """The store has no such version: somebody deleted it."""


class NoSuchRun(Exception):
    """The store has no such run, so that no version can point to it."""


@dataclass(frozen=True)
class StoredVersion:
    """A version as the store has it, whoever made it. `run_id` is "" where it has none."""

    number: int
    run_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class StoredRun:
    """A run: what was logged with it. `datasets` are the digests of its datasets, `seconds` its wall time."""

    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    datasets: tuple[str, ...]
    seconds: float


class VersionStore(Protocol):
    """Versions of a project's model, their lineage and their aliases."""

    async def find(self, project: str, run_id: str, model_sha256: str) -> tuple[int, dict[str, str]] | None:
        """The version made from this model of this run, with its tags."""
        ...

    async def brought(self, project: str, run_id: str) -> int | None:
        """The version of this run that somebody made by hand, without lineage yet; of several the judged one."""
        ...

    async def create(self, project: str, run_id: str, tags: dict[str, str], description: str) -> int:
        """A new version whose source is the run's `model.pt`. Raises NoSuchRun."""
        ...

    async def tag(self, project: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags, in their order. Raises NoSuchVersion."""
        ...

    async def run(self, run_id: str) -> StoredRun:
        """A run. Raises NoSuchRun."""
        ...

    async def aliases(self, project: str) -> Aliases:
        """Who carries which alias."""
        ...

    async def set_alias(self, project: str, alias: str, version: int) -> None:
        """Move an alias. Raises NoSuchVersion."""
        ...

    async def drop_alias(self, project: str, alias: str) -> None:
        """Take an alias away, from whatever carries it."""
        ...


class ByHand(VersionStore, Protocol):
    """The store as people use it, too."""

    async def all_aliases(self) -> Mapping[str, Mapping[str, int]]:
        """Of every registered model: alias -> version."""
        ...

    async def version(self, project: str, number: int) -> StoredVersion:
        """One version. Raises NoSuchVersion."""
        ...

    async def artifacts(self, run_id: str) -> frozenset[str]:
        """The names of the files in the folder of a run's artifacts."""
        ...

    async def artifact(self, run_id: str, name: str) -> bytes:
        """One of them."""
        ...


class Said(Protocol):
    """What was said on the bus."""

    async def last(self, event_type: type[E], project: str) -> tuple[E, Envelope] | None:
        """The last event of a type about a project."""
        ...

    def read(self, event_type: type[E], project: str) -> AsyncIterator[tuple[E, Envelope, int]]:
        """All stored events of a type about a project, the oldest first, with their places in the stream."""
        ...


class Speaking(Said, Protocol):
    """The bus of a job, which says things by itself."""

    @property
    def source(self) -> str:
        """Who says it."""
        ...

    def now(self) -> datetime:
        """The time of what is said."""
        ...

    async def send(self, event: Event, envelope: Envelope) -> Envelope:
        """Say it; one that is said again under its id is no second fact."""
        ...


class Signer(Protocol):
    """Who vouches for versions."""

    def sign(self, version: ModelVersion) -> ModelVersion:
        """The version with its signature; the same each time."""
        ...


class Files(Protocol):
    """The blob store."""

    async def put(self, data: bytes, suffix: str) -> BlobRef:
        """Keep bytes under the name of their SHA-256."""
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
