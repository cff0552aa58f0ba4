"""A message's type, headers and body as an event."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from contracts.envelope import Envelope
from contracts.events.base import EVENTS, Event
from services.chassis.errors import Rejected, explain

E = TypeVar("E", bound=Event)


def understand(type_: str, body: bytes) -> Event:
    """A message's body as its event.

    Raises:
        Rejected: unknown type or version, or a body that does not fit its schema; the text names the field.
    """
    model = EVENTS.get(type_)
    if model is None:
        name, _, version = type_.rpartition(".")
        known = sorted(other.rpartition(".")[2] for other in EVENTS if other.rpartition(".")[0] == name)
        if known:
            raise Rejected(f"{name} {version} is not known here, only {', '.join(known)}: upgrade this service")
        raise Rejected(f"no event has the type {type_}")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise Rejected(f"{type_} does not fit its schema: {explain(error)}") from error


def read_event(
    event_type: type[E],
    subject: str,
    headers: Mapping[str, str] | None,
    body: bytes,
    stored_at: datetime,
    position: str,
) -> tuple[E, Envelope]:
    """A stored message as the event it is expected to be, with its envelope.

    Raises:
        NotAnEvent, Rejected: it is none, or another one; the text says why.
    """
    envelope = Envelope.read(subject, headers, stored_at=stored_at, position=position)
    event = understand(envelope.type, body)
    if not isinstance(event, event_type):
        raise Rejected(f"{envelope.type} is stored where {event_type.TYPE} was expected")
    return event, envelope
