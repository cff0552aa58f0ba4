"""Events and services by the names that people use: `training.requested`, or the whole type."""

from difflib import get_close_matches

from contracts.events import EVENTS, Event
from contracts.topology import SERVICES
from services.cli.errors import BadInput


def service(name: str) -> str:
    """The name of a service.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in SERVICES:
        raise BadInput(f"there is no service {name}: {', '.join(SERVICES)}")
    return name


def event_type(name: str) -> type[Event]:
    """The newest version of `training.requested`, or exactly `loopline.training.requested.v1`.

    Raises:
        BadInput: no event has that name; the text names the closest ones.
    """
    if name in EVENTS:
        return EVENTS[name]
    by_name = {model.name(): model for _, model in sorted(EVENTS.items())}
    if name in by_name:
        return by_name[name]
    close = get_close_matches(name.removeprefix("loopline."), by_name, n=3, cutoff=0.5)
    raise BadInput(
        f"there is no event {name!r}; " + (f"like it: {', '.join(close)}" if close else "see contracts/events")
    )
