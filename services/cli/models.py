"""`loopline models`: the registered versions, from what was said on the bus."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from services.cli.options import AsJson, Project
from services.cli.session import session_of, the_project

if TYPE_CHECKING:
    from services.chassis.client import Client


@dataclass(frozen=True)
class Row:
    """A version. `accuracy` is that of its last evaluation, with the 95 % interval."""

    version: int
    state: str
    dataset_number: int
    dataset_id: str
    recipe: str | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    test_images: int | None
    why: str
    registered_at: str
    run_id: str
    model_sha256: str


def models(context: typer.Context, project: Project = None, as_json: AsJson = False) -> None:
    """List the registered versions of a project, newest first, and which one serves."""
    session = session_of(context)

    async def work(client: "Client") -> tuple[str, list[Row]]:
        name = await the_project(client, project)
        return name, await rows_of(client, name)

    name, rows = session.run(work)
    if as_json:
        session.json([asdict(row) for row in rows])
        return
    if not rows:
        session.out.print(f"{name} has no registered model yet")
        return
    from rich.table import Table

    table = Table("version", "state", "dataset", "accuracy", "registered", "why", box=None)
    for row in rows:
        number = "" if row.accuracy is None else f"{row.accuracy:.1%}"
        if row.accuracy_low is not None and row.accuracy_high is not None:
            number += f" ({row.accuracy_low:.1%} to {row.accuracy_high:.1%})"
        table.add_row(str(row.version), row.state, str(row.dataset_number), number, row.registered_at, row.why)
    session.out.print(table)


async def rows_of(client: "Client", project: str) -> list[Row]:
    """Every version that was registered, newest first."""
    from contracts.events.deployment import DeploymentCompleted
    from contracts.events.evaluation import EvaluationCompleted
    from contracts.events.model import ModelApproved, ModelRegistered

    judged: dict[str, EvaluationCompleted] = {}
    async for evaluation, _, _ in client.read(EvaluationCompleted, project):
        judged[evaluation.run_id] = evaluation
    approved = {said.version.version: said async for said, _, _ in client.read(ModelApproved, project)}
    deployed = [said.version.version async for said, _, _ in client.read(DeploymentCompleted, project)]
    rows: dict[int, Row] = {}
    async for registered, envelope, _ in client.read(ModelRegistered, project):
        version = registered.version
        verdict = judged.get(version.run_id)
        approval = approved.get(version.version)
        rows[version.version] = Row(
            version=version.version,
            state=_state(version.version, approval is not None, deployed),
            dataset_number=version.dataset_number,
            dataset_id=version.dataset_id,
            recipe=verdict.plan.recipe if verdict else None,
            accuracy=verdict.candidate.accuracy.value if verdict else None,
            accuracy_low=verdict.candidate.accuracy.low if verdict else None,
            accuracy_high=verdict.candidate.accuracy.high if verdict else None,
            test_images=verdict.candidate.test_images if verdict else None,
            why=f"{approval.approved_by}: {approval.why}"
            if approval
            else "from an older dataset than one approved before",
            registered_at=envelope.time.isoformat(timespec="seconds"),
            run_id=version.run_id,
            model_sha256=version.model.file.sha256,
        )
    return [rows[number] for number in sorted(rows, reverse=True)]


def _state(version: int, is_approved: bool, deployed: list[int]) -> str:
    if deployed and deployed[-1] == version:
        return "serves"
    if version in deployed:
        return "served"
    return "approved" if is_approved else "registered"
