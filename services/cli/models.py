"""`loopline models`: the registered versions, from what was said on the bus, and a person's word about one."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.session import Session, session_of, the_project

if TYPE_CHECKING:
    from services.chassis.client import Client

models = typer.Typer(
    invoke_without_command=True,
    help="List the versions of a project and which one serves; approve, reject or demote one.",
)


@dataclass(frozen=True)
class Row:
    """A version. `accuracy` is that of its last evaluation, with the 95 % interval; `remarks` are its, too."""

    version: int
    state: str
    dataset_number: int
    dataset_id: str
    recipe: str | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    test_images: int | None
    remarks: tuple[str, ...]
    why: str
    registered_at: str
    run_id: str
    model_sha256: str
    signed_by: str | None


@models.callback()
def list_(
    context: typer.Context,
    project: Project = None,
    where: Annotated[bool, typer.Option("--where", help="Instead: which node has which versions.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the registered versions of a project, newest first, and which one serves."""
    if context.invoked_subcommand:
        if where:
            raise BadInput("--where goes with the list alone: loopline models --where")
        return
    session = session_of(context)

    async def work(client: "Client") -> tuple[str, list[Row], dict[str, list[int]]]:
        from services.cli.versions import loaded

        name = await the_project(client, project)
        return name, await rows_of(client, name), await loaded(client, name) if where else {}

    name, rows, nodes = session.run(work)
    if where:
        _show_nodes(session, name, nodes, as_json)
    elif as_json:
        session.json([asdict(row) for row in rows])
    elif rows:
        _show(session, rows)
    else:
        session.out.print(f"{name} has no registered model yet")


def _show(session: Session, rows: list[Row]) -> None:
    from rich.table import Table

    table = Table("version", "state", "dataset", "accuracy", "registered", "why", box=None)
    for row in rows:
        number = "" if row.accuracy is None else f"{row.accuracy:.1%}"
        if row.accuracy_low is not None and row.accuracy_high is not None:
            number += f" ({row.accuracy_low:.1%} to {row.accuracy_high:.1%})"
        why = " ".join([f"{row.why.rstrip('.')}.", *row.remarks]) if row.remarks else row.why
        table.add_row(str(row.version), row.state, str(row.dataset_number), number, row.registered_at, why)
    session.out.print(table)
    if any(row.state == "waits for approval" for row in rows):
        session.notes.print("loopline models approve VERSION --why …, or reject")


def _show_nodes(session: Session, project: str, nodes: dict[str, list[int]], as_json: bool) -> None:
    if as_json:
        session.json([{"node": node, "serves": one[0], "keeps": one[1:]} for node, one in nodes.items()])
        return
    if not nodes:
        session.out.print(f"nothing of {project} was rolled out to any node yet")
        return
    from rich.table import Table

    table = Table("node", "serves", "keeps for the way back", box=None)
    for node, numbers in nodes.items():
        table.add_row(node, str(numbers[0]), ", ".join(map(str, numbers[1:])))
    session.out.print(table)


async def rows_of(client: "Client", project: str) -> list[Row]:
    """Every version that was registered, newest first."""
    from contracts.events.evaluation import EvaluationCompleted
    from services.cli.versions import versions_of

    judged: dict[str, EvaluationCompleted] = {}
    async for evaluation, _, _ in client.read(EvaluationCompleted, project):
        judged[evaluation.run_id] = evaluation
    rows = []
    for number, known in (await versions_of(client, project)).items():
        version, verdict = known.version, judged.get(known.version.run_id)
        rows.append(
            Row(
                version=number,
                state=known.state,
                dataset_number=version.dataset_number,
                dataset_id=version.dataset_id,
                recipe=verdict.plan.recipe if verdict else None,
                accuracy=verdict.candidate.accuracy.value if verdict else None,
                accuracy_low=verdict.candidate.accuracy.low if verdict else None,
                accuracy_high=verdict.candidate.accuracy.high if verdict else None,
                test_images=verdict.candidate.test_images if verdict else None,
                remarks=verdict.remarks if verdict else (),
                why=known.why,
                registered_at=known.registered_at.isoformat(timespec="seconds"),
                run_id=version.run_id,
                model_sha256=version.model.file.sha256,
                signed_by=version.signature.key_id if version.signature else None,
            )
        )
    return rows
