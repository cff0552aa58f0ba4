"""`loopline train` and `loopline cancel`."""

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.chassis.errors import explain
from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.session import card_of, session_of, the_project

if TYPE_CHECKING:
    from contracts.envelope import Envelope
    from contracts.events.training import TrainingRequested, TrainingStarted
    from contracts.project import ScopeCard
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
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LOW:HIGH|NAME=log:LOW:HIGH|NAME=A,B,C", help="Find a parameter by trying; once for each."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Of a search: so many trainings.")] = 20,
    minutes: Annotated[float | None, typer.Option(help="Of a search: no new one after so many minutes.")] = None,
    objective: Annotated[
        str | None, typer.Option(metavar="METRIC", help="Of a search: what is to be best; a loss is to be least.")
    ] = None,
    trainers: Annotated[int, typer.Option(min=1, max=100, help="Of a search: so many trainers share it.")] = 1,
    why: Annotated[str, typer.Option(help="For the history.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask for a training on a dataset version that there is, or for a search for its parameters."""
    from pydantic import ValidationError

    from contracts.events.dataset import DatasetVersioned
    from contracts.events.training import TrainingRequested

    session = session_of(context)
    if trainers > 1 and not search:
        raise BadInput("--trainers is for a search: say with --search what is to be tried")
    budget = {"trials": trials, "minutes": minutes}
    wanted: dict[str, Any] | None = {"space": parse_space(search), "budget": budget} if search else None
    if wanted and objective:
        wanted["objective"] = objective
    try:
        event = TrainingRequested.model_validate(
            {
                "dataset_id": dataset,
                "recipe": recipe,
                "parameters": parse(parameters or []),
                "seed": seed,
                "search": wanted,
                "again": again,
                "why": why,
            }
        )
    except ValidationError as error:
        raise BadInput(explain(error)) from None

    async def work(client: "Client") -> "Envelope":
        name = await the_project(client, project)
        check(event, await card_of(client, name))
        if await client.last(DatasetVersioned, name) is None:
            raise BadInput(f"{name} has no dataset version to train on yet: label images, or loopline dataset request")
        said = await client.say(event, project=name)
        for _ in range(trainers - 1):
            await client.say(event.model_copy(update={"helps": said.id}), project=name)
        return said

    envelope = session.run(work)
    if as_json:
        session.json({"id": envelope.id, "project": envelope.project, "correlation_id": envelope.correlation_id})
    else:
        session.out.print(f"asked for a training of {envelope.project}: follow it with loopline watch")


def check(event: "TrainingRequested", card: "ScopeCard") -> None:
    """Refuse what the trainer would refuse, before it is said. A recipe that is not installed here is the trainer's.

    Raises:
        BadInput: the recipe does not take these parameters.
    """
    from services.chassis.recipes import NotARecipe, checked, checked_search, found

    name = event.recipe or card.model.recipe
    if name not in found():
        return
    parameters = {**(card.model.parameters if name == card.model.recipe else {}), **event.parameters}
    try:
        if event.search:
            checked_search(name, parameters, event.search)
        else:
            checked(name, parameters)
    except NotARecipe as error:
        raise BadInput(str(error)) from None


def cancel(
    context: typer.Context,
    project: Project = None,
    why: Annotated[str, typer.Option(help="For the history.")] = "no longer wanted",
    as_json: AsJson = False,
) -> None:
    """Stop the trainings of a project that are in work, and those that were asked for in the same words and wait."""
    from contracts.events.training import TrainingCancelled

    session = session_of(context)

    async def work(client: "Client") -> "list[TrainingStarted]":
        name = await the_project(client, project)
        stopped = []
        async for started, envelope in in_work(client, name):
            await client.say(TrainingCancelled(plan=started.plan, reason=why), project=name, cause=envelope)
            stopped.append(started)
        if not stopped:
            raise BadInput(f"no training of {name} is in work: there is nothing to cancel")
        return stopped

    stopped = session.run(work)
    if as_json:
        session.json([started.model_dump(mode="json") for started in stopped])
        return
    for started in stopped:
        session.out.print(f"cancelled {started.plan.recipe} on {started.plan.dataset_id}, in work by {started.trainer}")


async def in_work(client: "Client", project: str) -> "AsyncIterator[tuple[TrainingStarted, Envelope]]":
    """The trainings that were begun and have not ended: the end of each has the same cause as its start."""
    from contracts.events.training import TrainingCancelled, TrainingCompleted, TrainingFailed, TrainingStarted

    ended = set()
    for end in (TrainingCompleted, TrainingFailed, TrainingCancelled):
        ended |= {envelope.causation_id async for _, envelope, _ in client.read(end, project)}
    async for started, envelope, _ in client.read(TrainingStarted, project):
        if envelope.causation_id not in ended:
            # Begun anew after a crash it is the same training.
            ended.add(envelope.causation_id)
            yield started, envelope


def parse(settings: list[str]) -> dict[str, Any]:
    """`name=value` pairs. A value that is JSON is what it says, anything else a string."""
    return {name: _value(value) for name, value in _pairs(settings, "--set", "NAME=VALUE")}


def parse_space(tried: list[str]) -> dict[str, Any]:
    """`name=low:high`, `name=log:low:high` or `name=one,two,three`; whole numbers at both ends mean whole numbers."""
    space: dict[str, Any] = {}
    for name, value in _pairs(tried, "--search", "NAME=LOW:HIGH, NAME=log:LOW:HIGH or NAME=A,B,C"):
        # A list first: the names of its values may have a colon, as backbones do.
        if "," in value or ":" not in value:
            space[name] = {"kind": "choice", "values": [_value(one) for one in value.split(",")]}
            continue
        ends = [_value(end) for end in value.removeprefix("log:").split(":")]
        if len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
            raise BadInput(f"--search {name}={value}: write LOW:HIGH with two numbers, or log:LOW:HIGH")
        whole = all(isinstance(end, int) for end in ends)
        kind = "int" if whole else "float"
        space[name] = {"kind": kind, "low": ends[0], "high": ends[1], "log": value.startswith("log:")}
    return space


def _pairs(given: list[str], option: str, form: str) -> list[tuple[str, str]]:
    pairs: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise BadInput(f"{option} {one}: write {form}")
        if name in pairs:
            raise BadInput(f"{option} {name} is given twice")
        pairs[name] = value
    return list(pairs.items())


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
