"""The cards of all projects, as they were said last."""

from collections.abc import Mapping

from contracts.events.project import ProjectDefined
from contracts.project import ScopeCard
from services.labeling_sync.ports import Bus


class Cards:
    """Reads what was said since it was asked last. A job must know every project, also those heard by a replica."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._cards: dict[str, ScopeCard] = {}
        self._next_seq = 1

    async def all(self) -> Mapping[str, ScopeCard]:
        """Project name -> card."""
        async for event, envelope, seq in self._bus.read(ProjectDefined, from_seq=self._next_seq):
            self._cards[envelope.project] = event.card
            self._next_seq = seq + 1
        return self._cards


async def card_of(bus: Bus, project: str) -> ScopeCard | None:
    """The card of a project as of now; None where it was never defined."""
    said = await bus.last(ProjectDefined, project)
    return said[0].card if said else None
