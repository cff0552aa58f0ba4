"""`loopline status`: how far everything is."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from services.cli.alive import trouble_of
from services.cli.options import AsJson, Project
from services.cli.session import Session, card_of, session_of

if TYPE_CHECKING:
    from contracts.envelope import Envelope
    from contracts.events import Event
    from services.chassis.client import Client, ConsumerState

    Said = tuple[Event, Envelope]


def _stages() -> "dict[str, tuple[type[Event], ...]]":
    """For each stage of the loop the facts of which the newest is its state."""
    from contracts.events import dataset, deployment, evaluation, model, training

    return {
        "dataset": (dataset.DatasetVersioned, dataset.DatasetRejected),
        "training": (
            training.TrainingStarted,
            training.TrainingProgressed,
            training.TrainingCompleted,
            training.TrainingFailed,
            training.TrainingCancelled,
        ),
        "evaluation": (evaluation.EvaluationCompleted, evaluation.EvaluationFailed),
        "model": (
            model.ModelRegistered,
            model.ModelApprovalRequested,
            model.ModelApproved,
            model.ModelRejected,
            model.ModelDemoted,
            model.ModelPromoted,
        ),
        "deployment": (
            deployment.DeploymentStarted,
            deployment.DeploymentCompleted,
            deployment.DeploymentFailed,
        ),
    }


def status(context: typer.Context, project: Project = None, as_json: AsJson = False) -> None:
    """Show where each project stands, what waits for the services, and how many dead letters there are."""
    session = session_of(context)

    async def work(
        client: "Client",
    ) -> "tuple[dict[str, dict[str, Said | None]], list[ConsumerState], int, list[str]]":
        if project:
            await card_of(client, project)
        names = [project] if project else await client.projects()
        found = await asyncio.gather(*(_stages_of(client, name) for name in names))
        trouble = await trouble_of(client)
        return dict(zip(names, found, strict=True)), await client.consumers(), await client.dead_count(), trouble

    projects, consumers, dead, trouble = session.run(work)
    if as_json:
        session.json(
            {
                "projects": {
                    name: {stage: _as_object(said) for stage, said in found.items()} for name, found in projects.items()
                },
                "consumers": [asdict(consumer) for consumer in consumers],
                "dead_letters": dead,
                "trouble": trouble,
            }
        )
        return
    _show_projects(session, projects)
    _show_consumers(session, consumers, dead)
    for sentence in trouble:
        session.out.print(sentence)


async def _stages_of(client: "Client", project: str) -> "dict[str, Said | None]":
    stages = _stages()
    found: list[Said | None] = await asyncio.gather(*(_newest(client, project, types) for types in stages.values()))
    return dict(zip(stages, found, strict=True))


async def _newest(client: "Client", project: str, types: "tuple[type[Event], ...]") -> "Said | None":
    found = await asyncio.gather(*(client.last(type_, project) for type_ in types))
    return max((said for said in found if said), key=lambda said: said[1].time, default=None)


def _as_object(said: "Said | None") -> dict[str, Any] | None:
    from services.cli.watching import as_object

    return as_object(*said) if said else None


def _show_projects(session: Session, projects: "dict[str, dict[str, Said | None]]") -> None:
    from rich.table import Table

    from services.cli.telling import sentence_of

    if not projects:
        session.out.print("no project is defined yet: loopline import elpv, or loopline project apply FILE")
    for name, stages in projects.items():
        table = Table("", "when", "", "", title=name, title_justify="left", box=None, show_header=False)
        for stage, said in stages.items():
            if said is None:
                table.add_row(stage, "", "none yet", "")
            else:
                event, envelope = said
                verb = event.name().partition(".")[2]
                table.add_row(stage, envelope.time.astimezone().strftime("%m-%d %H:%M:%S"), verb, sentence_of(event))
        session.out.print(table)
        session.out.print()


def _show_consumers(session: Session, consumers: "list[ConsumerState]", dead: int) -> None:
    from rich.table import Table

    table = Table("durable", "waiting", "in work", "redelivered", box=None)
    for consumer in consumers:
        table.add_row(consumer.durable, str(consumer.pending), str(consumer.unacked), str(consumer.redelivered))
    session.out.print(table)
    session.out.print(f"dead letters: {dead} (loopline dead list)" if dead else "no dead letters")
