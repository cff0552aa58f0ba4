"""`loopline publish`: say any event of the contracts."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.chassis.errors import explain
from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.session import session_of

if TYPE_CHECKING:
    from contracts.envelope import Envelope
    from contracts.events import Event
    from services.chassis.client import Client


def publish(
    context: typer.Context,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Such as training.requested, or the whole type.")],
    project: Project = None,
    data: Annotated[str, typer.Option(help="The event: JSON, @FILE, or - for standard input.")] = "{}",
    as_json: AsJson = False,
) -> None:
    """Say an event. It is checked against its schema first, and a field that it does not have is refused."""
    session = session_of(context)
    event = parse(type_, data)
    name = _named(event, project)

    async def work(client: "Client") -> "Envelope":
        return await client.say(event, project=name)

    envelope = session.run(work)
    if as_json:
        session.json({"id": envelope.id, "type": envelope.type, "project": name, "subject": envelope.subject})
    else:
        session.out.print(f"said {event.name()} about {name}: {envelope.id}")


def parse(type_: str, data: str) -> "Event":
    """The event that a name and the text of `--data` make.

    Raises:
        BadInput: no such event, no such file, no JSON, or JSON that does not fit; the text names the field.
    """
    from pydantic import ValidationError

    from services.cli.naming import event_type

    model = event_type(type_)
    try:
        return model.model_validate_json(_text(data), extra="forbid")
    except ValidationError as error:
        raise BadInput(f"{model.name()}: {explain(error)}") from None


def _text(data: str) -> str:
    if data == "-":
        return sys.stdin.read()
    if not data.startswith("@"):
        return data
    try:
        return Path(data[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {data[1:]}: {getattr(error, 'strerror', None) or 'it is no text'}") from None


def _named(event: "Event", project: str | None) -> str:
    """The project to say it about. A card names its own; one that is not defined yet may be spoken of."""
    from contracts.events.project import ProjectDefined

    if isinstance(event, ProjectDefined):
        if project not in (None, event.card.project):
            raise BadInput(f"the card is that of {event.card.project}, not of {project}")
        return event.card.project
    if project is None:
        raise BadInput("name the project that it is about: --project NAME")
    return project
