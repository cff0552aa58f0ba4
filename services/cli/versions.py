"""The registered versions of a project and all that was said of them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from contracts.events.base import Event
from contracts.events.deployment import DeploymentCompleted, DeploymentFailed, DeploymentStarted
from contracts.events.model import (
    ModelApprovalRequested,
    ModelApproved,
    ModelDemoted,
    ModelRegistered,
    ModelRejected,
    ModelVersion,
)
from services.cli.errors import BadInput

if TYPE_CHECKING:
    from contracts.envelope import Envelope
    from services.chassis.client import Client

About = (
    ModelRegistered
    | ModelApprovalRequested
    | ModelApproved
    | ModelRejected
    | ModelDemoted
    | DeploymentStarted
    | DeploymentCompleted
    | DeploymentFailed
)
_ABOUT: tuple[type[About], ...] = (
    ModelRegistered,
    ModelApprovalRequested,
    ModelApproved,
    ModelRejected,
    ModelDemoted,
    DeploymentStarted,
    DeploymentCompleted,
    DeploymentFailed,
)
_STATES: dict[type[Event], str] = {
    ModelRegistered: "registered",
    ModelApprovalRequested: "waits for approval",
    ModelApproved: "approved",
    ModelRejected: "rejected",
    ModelDemoted: "demoted",
    DeploymentStarted: "rolling out",
    DeploymentCompleted: "served",
    DeploymentFailed: "failed",
}


@dataclass
class Known:
    """A version and what was said of it, the oldest first."""

    version: ModelVersion
    registered_at: datetime
    words: "list[tuple[About, Envelope]]" = field(default_factory=list)
    serves: bool = False

    @property
    def state(self) -> str:
        """In a word or two: what serves, serves, whatever was said of it since."""
        last = type(self.words[-1][0])
        if self.serves:
            return "serves, demoted" if last is ModelDemoted else "serves"
        return _STATES[last]

    @property
    def why(self) -> str:
        """Why it is in that state, as it was said."""
        for event, _ in reversed(self.words):
            match event:
                case DeploymentFailed():
                    return event.reason
                case ModelDemoted():
                    return f"{event.demoted_by}: {event.why}"
                case ModelRejected():
                    return f"{event.rejected_by}: {event.why}"
                case ModelApproved():
                    return f"{event.approved_by}: {event.why}"
                case ModelApprovalRequested():
                    return event.why
        return "from an older dataset than one approved before"

    @property
    def approval(self) -> ModelApproved | None:
        """The last one."""
        return next((event for event, _ in reversed(self.words) if isinstance(event, ModelApproved)), None)

    @property
    def served(self) -> bool:
        """Whether it ever did."""
        return any(isinstance(event, DeploymentCompleted) for event, _ in self.words)

    @property
    def taken_back(self) -> bool:
        """Whether the last word of a person about it was no: it is not put back by itself."""
        for event, _ in reversed(self.words):
            if isinstance(event, ModelRejected | ModelDemoted):
                return True
            if isinstance(event, ModelApproved) and event.approved_by != "gates":
                return False
        return False


async def versions_of(client: "Client", project: str) -> dict[int, Known]:
    """Every version that was registered, by its number, the newest first."""
    said: list[tuple[int, About, Envelope]] = []
    for type_ in _ABOUT:
        said += [(seq, event, envelope) async for event, envelope, seq in client.read(type_, project)]
    known: dict[int, Known] = {}
    serving: Known | None = None
    for _, event, envelope in sorted(said, key=lambda one: one[0]):
        number = event.version.version
        if isinstance(event, ModelRegistered):
            known.setdefault(number, Known(event.version, envelope.time))
        if number not in known:
            continue  # nobody registered it
        known[number].words.append((event, envelope))
        if isinstance(event, DeploymentCompleted):
            serving = known[number]
    if serving:
        serving.serves = True
    return {number: known[number] for number in sorted(known, reverse=True)}


def find(known: dict[int, Known], number: int, project: str) -> Known:
    """One of them.

    Raises:
        BadInput: none of that number was registered.
    """
    if number not in known:
        numbers = ", ".join(map(str, known)) or "none yet"
        raise BadInput(f"{project} has no registered version {number} (registered: {numbers})")
    return known[number]


async def loaded(client: "Client", project: str) -> dict[str, list[int]]:
    """By node: the versions that rollouts left there, the one that serves first.

    A node that was added since has them too: it is given them without a word.
    """
    found: dict[str, list[int]] = {}
    async for event, _, _ in client.read(DeploymentCompleted, project):
        first = event.version.version
        found = {
            check.node: [first, *(one for one in found.get(check.node, ()) if one not in (first, *event.unloaded))]
            for check in event.checks
        }
    return dict(sorted(found.items()))
