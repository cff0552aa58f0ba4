"""`loopline project …`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.options import AsJson, Project
from services.cli.session import card_of, session_of, the_project

if TYPE_CHECKING:
    from contracts.envelope import Envelope
    from contracts.project import ScopeCard
    from services.chassis.client import Client

projects = typer.Typer(no_args_is_help=True, help="Define a project by its scope card, or show the card.")


@projects.command("apply")
def apply(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The scope card, YAML or JSON.")],
    as_json: AsJson = False,
) -> None:
    """Define a project, or define it anew: the last card applied is the card."""
    from contracts.events.project import ProjectDefined
    from services.cli.cards import read_card

    session = session_of(context)
    card = read_card(file)

    async def work(client: "Client") -> "tuple[Envelope, bool]":
        known = await client.last(ProjectDefined, card.project)
        return await client.say(ProjectDefined(card=card), project=card.project), known is not None

    envelope, known = session.run(work)
    if as_json:
        session.json({"id": envelope.id, "project": card.project, "defined_before": known})
        return
    classes = ", ".join(card.data.classes)
    session.out.print(
        f"{card.project} is defined{' anew' if known else ''}: {len(card.data.classes)} classes, {classes}"
    )


@projects.command("show")
def show(context: typer.Context, project: Project = None, as_json: AsJson = False) -> None:
    """Show the card of a project, every row spelled out."""
    from services.cli.cards import as_yaml

    session = session_of(context)

    async def work(client: "Client") -> "ScopeCard":
        return await card_of(client, await the_project(client, project))

    card = session.run(work)
    if as_json:
        session.json(card.model_dump(mode="json"))
    else:
        session.out.print(as_yaml(card).rstrip())
