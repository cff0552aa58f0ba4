"""`loopline train`."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.chassis.errors import explain
from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.session import session_of, the_project

if TYPE_CHECKING:
    from contracts.envelope import Envelope
    from services.chassis.client import Client


def train(
    context: typer.Context,
    project: Project = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the recipe; once for each.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Another recipe than the card's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the card's.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Id of a dataset version; the newest when missing.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also when the same was trained already.")] = False,
    why: Annotated[str, typer.Option(help="For the history.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask for a training on a dataset version that there is."""
    from pydantic import ValidationError

    from contracts.events.dataset import DatasetVersioned
    from contracts.events.training import TrainingRequested

    session = session_of(context)
    try:
        event = TrainingRequested(
            dataset_id=dataset, recipe=recipe, parameters=parse(parameters or []), seed=seed, again=again, why=why
        )
    except ValidationError as error:
        raise BadInput(explain(error)) from None

    async def work(client: "Client") -> "Envelope":
        name = await the_project(client, project)
        if await client.last(DatasetVersioned, name) is None:
            raise BadInput(f"{name} has no dataset version to train on yet: label images, or loopline dataset request")
        return await client.say(event, project=name)

    envelope = session.run(work)
    if as_json:
        session.json({"id": envelope.id, "project": envelope.project, "correlation_id": envelope.correlation_id})
    else:
        session.out.print(f"asked for a training of {envelope.project}: follow it with loopline watch")


def parse(settings: list[str]) -> dict[str, Any]:
    """`name=value` pairs. A value that is JSON is what it says, anything else a string."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise BadInput(f"--set {setting}: write NAME=VALUE")
        if name in parsed:
            raise BadInput(f"--set {name} is given twice")
        try:
            parsed[name] = json.loads(value)
        except json.JSONDecodeError:
            parsed[name] = value
    return parsed
