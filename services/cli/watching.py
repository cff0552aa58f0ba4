"""`loopline watch`: the bus, live."""

import re
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.session import session_of

if TYPE_CHECKING:
    from contracts.envelope import Envelope
    from contracts.events import Event
    from services.chassis.client import Client

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def watch(
    context: typer.Context,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only these events; once for each.")
    ] = None,
    project: Project = None,
    since: Annotated[str | None, typer.Option(metavar="10m", help="Also those said since then: s, m, h or d.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show events as they are said, until Ctrl-C. With --json an object a line."""
    from services.cli.naming import event_type
    from services.cli.telling import tell

    session = session_of(context)
    wanted = [event_type(name) for name in types] if types else None
    start = datetime.now(UTC) - ago(since) if since else None

    async def work(client: "Client") -> None:
        left = count
        # Closed before the connection is, which it has to say goodbye to.
        async with aclosing(client.events(wanted, project, start)) as events:
            async for event, envelope in events:
                if as_json:
                    session.json(as_object(event, envelope))
                else:
                    session.out.print(tell(event, envelope, of=project is None))
                left = left - 1 if left else None
                if left == 0:
                    return

    session.run(work)


def ago(text: str) -> timedelta:
    """`90s`, `10m`, `2h` or `1d`."""
    found = span(text)
    if found is None:
        raise BadInput(f"--since {text}: write a number and s, m, h or d, such as 10m")
    return found


def span(text: str) -> timedelta | None:
    """What `90s`, `10m`, `2h` or `1d` means; None for anything else."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def as_object(event: "Event", envelope: "Envelope") -> dict[str, Any]:
    """An event with its envelope, for scripts."""
    return {
        "id": envelope.id,
        "type": envelope.type,
        "project": envelope.project,
        "time": envelope.time.isoformat(),
        "source": envelope.source,
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        "data": event.model_dump(mode="json"),
    }
