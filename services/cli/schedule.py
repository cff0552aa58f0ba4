"""`loopline schedule`: requests that the bus says by the clock."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.publishing import parse
from services.cli.session import check_name, session_of, the_project

if TYPE_CHECKING:
    from contracts.events import Event
    from services.chassis.client import Client
    from services.chassis.schedules import Schedule

schedules = typer.Typer(name="schedule", no_args_is_help=True, help="Requests that come again by the clock.")

Name = Annotated[str, typer.Option("--name", metavar="NAME", help="What the schedule is called, such as nightly.")]


@schedules.command("add")
def add(
    context: typer.Context,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="training.requested or dataset.requested.")],
    name: Name,
    project: Project = None,
    cron: Annotated[
        str | None, typer.Option(metavar="LINE", help="Six fields, seconds first: '0 0 2 * * *' is 2:00 at night.")
    ] = None,
    every: Annotated[str | None, typer.Option(metavar="TIME", help="Instead of --cron: 30m, 6h.")] = None,
    zone: Annotated[str, typer.Option(metavar="ZONE", help="Of --cron, such as Europe/Berlin; UTC when missing.")] = "",
    data: Annotated[str, typer.Option(help="The request: JSON, @FILE, or - for standard input.")] = "{}",
    as_json: AsJson = False,
) -> None:
    """Let the bus say a request again and again; a schedule of the same name is replaced.

    A training by schedule is one `--again`. One that is due while the project still trains is left out.
    """
    if (cron is None) == (every is None):
        raise BadInput("say when: with --cron '0 0 2 * * *' or with --every 6h, one of them")
    check_name(name, "a schedule's name")
    when = cron or f"@every {every}"
    event = _by_the_clock(parse(type_, data), name)
    session = session_of(context)

    async def work(client: "Client") -> tuple[str, bool]:
        about = await the_project(client, project)
        return about, await client.schedules.add(about, name, event, when, zone)

    about, replaced = session.run(work)
    if as_json:
        session.json({"project": about, "name": name, "when": when, "zone": zone, "replaced": replaced})
    else:
        session.out.print(f"{'replaced' if replaced else 'added'} {name}: {event.name()} about {about}, {when} {zone}")


@schedules.command("list")
def show(context: typer.Context, project: Project = None, as_json: AsJson = False) -> None:
    """Show the schedules of a project, or of all."""
    from rich.table import Table

    session = session_of(context)

    async def work(client: "Client") -> "list[Schedule]":
        return await client.schedules.all(project or "*")

    found = session.run(work)
    if as_json:
        session.json([asdict(one) for one in found])
        return
    if not found:
        session.out.print("nothing is scheduled: loopline schedule add training.requested --name nightly --cron …")
        return
    table = Table("project", "name", "says", "when", "zone", "fired last", "fires next", box=None)
    for one in found:
        fired = one.fired_at.astimezone().strftime("%m-%d %H:%M:%S") if one.fired_at else ""
        table.add_row(one.project, one.name, one.event, one.when, one.zone or "UTC", fired, one.next)
    session.out.print(table)


@schedules.command("remove")
def remove(context: typer.Context, name: Name, project: Project = None, as_json: AsJson = False) -> None:
    """End a schedule. What it fired already stays."""
    session = session_of(context)
    check_name(name, "a schedule's name")

    async def work(client: "Client") -> str:
        about = await the_project(client, project)
        if not await client.schedules.remove(about, name):
            raise BadInput(f"{about} has no schedule {name}: loopline schedule list")
        return about

    about = session.run(work)
    if as_json:
        session.json({"project": about, "name": name})
    else:
        session.out.print(f"removed {name} of {about}")


def _by_the_clock(event: "Event", name: str) -> "Event":
    """What a schedule wants where the request does not say otherwise: train although nothing is new, one at a time."""
    from contracts.events.training import TrainingRequested

    wanted: dict[str, object] = {"why": f"schedule {name}"}
    if isinstance(event, TrainingRequested):
        wanted |= {"again": True, "unless_training": True}
    return event.model_copy(update={key: value for key, value in wanted.items() if key not in event.model_fields_set})
