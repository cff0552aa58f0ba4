"""What drifts at the moment, from what the watch keeps of each project."""

from dataclasses import dataclass
from datetime import datetime

from contracts.topology import WATCHED
from services.chassis.client import Client


@dataclass(frozen=True)
class Drifting:
    """One kind of drift of the version that serves."""

    project: str
    version: int
    kind: str
    since: datetime
    sentence: str


async def drifting(client: Client) -> tuple[Drifting, ...]:
    """What is there now, the newest first."""
    found = await client.bucket(WATCHED).values("state.*")
    all_ = [
        Drifting(
            project=key.removeprefix("state."),
            version=state["version"],
            kind=look["kind"],
            since=datetime.fromisoformat(look["drifting_since"]),
            sentence=look["sentence"],
        )
        for key, state in found.items()
        for look in state["looks"]
        if look["drifting_since"]
    ]
    return tuple(sorted(all_, key=lambda one: (one.since, one.project, one.kind), reverse=True))
