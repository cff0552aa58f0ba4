"""What the accountant looks at: everything that was said, and everything that came of it, as plain records."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from contracts.events.base import Event

E = TypeVar("E", bound=Event)

INSPECTOR = "inspector"
"""Who labels in Label Studio what it asks about; all other labels are given on the bus."""


@dataclass(frozen=True)
class Fact:
    """A stored event. `cause` is the id of the event that caused it, "" where nothing did."""

    id: str
    event: Event
    cause: str = ""

    @property
    def name(self) -> str:
        """`training.completed`."""
        return self.event.name()


@dataclass(frozen=True)
class Sent:
    """Something that was said to the loop and acknowledged. `refused` where a no is the right answer."""

    id: str
    event: Event
    refused: bool = False


@dataclass(frozen=True)
class Annotation:
    """A label in Label Studio; `by` is who it was given by."""

    id: int
    label: str
    by: str


@dataclass(frozen=True)
class Task:
    """A task in Label Studio."""

    id: int
    sha256: str
    annotations: tuple[Annotation, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run in MLflow; `claim` is "" for one that somebody outside made."""

    id: str
    status: str = "FINISHED"
    claim: str = ""


@dataclass(frozen=True)
class Version:
    """A registered version in MLflow."""

    number: int
    run_id: str


@dataclass(frozen=True, order=True)
class Dead:
    """Where a dead letter comes from."""

    stream: str
    seq: int
    durable: str


@dataclass(frozen=True)
class Waiting:
    """A durable, and what it has not finished."""

    durable: str
    pending: int = 0
    unacked: int = 0


@dataclass(frozen=True)
class Books:
    """One project, at one moment. `dead` has the reasons, `injected` what was put in to become a dead letter."""

    sent: tuple[Sent, ...] = ()
    facts: tuple[Fact, ...] = ()
    dead: Mapping[Dead, str] = field(default_factory=dict)
    injected: frozenset[Dead] = frozenset()
    tasks: tuple[Task, ...] = ()
    runs: tuple[Run, ...] = ()
    versions: tuple[Version, ...] = ()
    champion: int | None = None
    served: int | None = None
    claims: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    waiting: tuple[Waiting, ...] = ()

    def of(self, event_type: type[E]) -> list[tuple[Fact, E]]:
        """The facts of a type, each once: one that is stored again has the same id."""
        first: dict[str, tuple[Fact, E]] = {}
        for fact in self.facts:
            if isinstance(fact.event, event_type):
                first.setdefault(fact.id, (fact, fact.event))
        return list(first.values())

    def caused(self, cause: str, *types: type[Event]) -> list[Fact]:
        """The facts of these types with that cause, each once."""
        return list({fact.id: fact for fact in self._by_cause[cause] if isinstance(fact.event, types)}.values())

    @cached_property
    def _by_cause(self) -> defaultdict[str, list[Fact]]:
        found: defaultdict[str, list[Fact]] = defaultdict(list)
        for fact in self.facts:
            found[fact.cause].append(fact)
        return found


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    kind: str
    what: str
