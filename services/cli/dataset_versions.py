"""`loopline dataset …`: ask for a version, look at one, take one out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.progress import bars
from services.cli.session import Session, session_of, the_project

if TYPE_CHECKING:
    from contracts.envelope import Envelope
    from contracts.events.dataset import DatasetVersioned
    from services.chassis.blobs import Blobs
    from services.chassis.client import Client

datasets = typer.Typer(no_args_is_help=True, help="Ask for a dataset version, look at one, export one.")

Which = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="The number or the id of a version; the newest when missing.")
]


@datasets.command("request")
def request(
    context: typer.Context,
    project: Project = None,
    why: Annotated[str, typer.Option(help="For the history.")] = "",
    as_json: AsJson = False,
) -> None:
    """Freeze the labels into a dataset version now, whatever the card's policy says."""
    from contracts.events.dataset import DatasetRequested

    session = session_of(context)

    async def work(client: "Client") -> "Envelope":
        return await client.say(DatasetRequested(why=why), project=await the_project(client, project))

    envelope = session.run(work)
    if as_json:
        session.json({"id": envelope.id, "project": envelope.project})
    else:
        session.out.print(f"asked for a dataset version of {envelope.project}: follow it with loopline watch")


@datasets.command("show")
def show(context: typer.Context, which: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Show a dataset version: classes and sides, what was left out, and how far people agree."""
    session = session_of(context)

    async def work(client: "Client") -> "tuple[DatasetVersioned, Envelope]":
        return await version_of(client, await the_project(client, project), which)

    version, envelope = session.run(work)
    if as_json:
        session.json({"project": envelope.project, "time": envelope.time, **version.model_dump(mode="json")})
    else:
        _print(session, version, envelope)


@datasets.command("export")
def export(
    context: typer.Context,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A folder that is not there yet, or empty.")],
    which: Which = None,
    project: Project = None,
    form: Annotated[str, typer.Option("--format", metavar="folders|csv|coco", help="See the README.")] = "folders",
    as_json: AsJson = False,
) -> None:
    """Write a dataset version and its pictures into a folder: as folders of classes, as CSV, or as COCO."""
    from services.chassis.errors import Away, Rejected
    from services.cli.exporting import FORMATS, write

    session = session_of(context)
    if form not in FORMATS:
        raise BadInput(f"{form} is no format: it is one of {', '.join(FORMATS)}")

    async def work(client: "Client") -> "tuple[DatasetVersioned, Envelope, Blobs]":
        return *await version_of(client, await the_project(client, project), which), client.blobs

    version, envelope, blobs = session.run(work)
    # Not while connected: the bus would not be answered for minutes, nor would Ctrl-C.
    try:
        write(blobs, version, form, to, bars(session.notes))
    except (Rejected, Away) as error:
        raise BadInput(str(error)) from error
    if as_json:
        told: dict[str, Any] = {"project": envelope.project, "dataset_id": version.dataset_id}
        session.json({**told, "images": version.labels, "format": form, "to": str(to)})
    else:
        session.out.print(f"exported {version.labels} images of {_name(version, envelope)} into {to}")


async def version_of(client: "Client", project: str, which: str | None) -> "tuple[DatasetVersioned, Envelope]":
    """A version of a project, by its number or its id; the newest where none is named.

    Raises:
        BadInput: there is none of that name.
    """
    from contracts.events.dataset import DatasetVersioned

    found = [(event, envelope) async for event, envelope, _ in client.read(DatasetVersioned, project)]
    if not found:
        raise BadInput(f"{project} has no dataset version yet: loopline dataset request")
    if which is None:
        return found[-1]
    for event, envelope in reversed(found):
        if which in (str(event.number), event.dataset_id):
            return event, envelope
    numbers = f"1 to {found[-1][0].number}" if len(found) > 1 else str(found[-1][0].number)
    raise BadInput(f"{project} has no dataset version {which}: it is a number ({numbers}) or an id of 16 hex digits")


def _name(version: "DatasetVersioned", envelope: "Envelope") -> str:
    return f"{envelope.project}, dataset {version.number} ({version.dataset_id})"


def _print(session: Session, version: "DatasetVersioned", envelope: "Envelope") -> None:
    from rich.table import Table

    at = envelope.time.astimezone().strftime("%Y-%m-%d %H:%M")
    session.out.print(f"{_name(version, envelope)} of {at}: {version.labels} images, {version.new_labels} labels new")
    table = Table("class", "train", "validation", "test", box=None)
    for count in version.counts:
        table.add_row(count.label, str(count.train), str(count.validation), str(count.test))
    session.out.print(table)
    for one in version.left_out:
        session.out.print(one.sentence)
    if agreement := version.agreement:
        kappa = "" if agreement.kappa is None else f", kappa {agreement.kappa:.2f}"
        session.out.print(
            f"{agreement.annotators} people labelled {agreement.images} images more than once: "
            f"{agreement.raw:.1%} of their labels agree{kappa}"
        )
    session.out.print(f"manifest {version.manifest.uri}")
