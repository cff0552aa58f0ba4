"""`loopline predict` and `loopline feedback`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.progress import bars
from services.cli.session import Session, session_of, the_project

if TYPE_CHECKING:
    from contracts.envelope import Envelope
    from contracts.events.prediction import PredictionCompleted, PredictionFailed
    from services.chassis.client import Client

_AT_ONCE = 8


def predict(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG or JPEG files.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Ask the model that serves about images, and wait for the answers. Exits 1 when one got no answer."""
    from services.chassis.client import request_for

    session = session_of(context)
    pictures = [(path, _picture(path)) for path in images]

    async def work(client: "Client") -> "list[PredictionCompleted | PredictionFailed]":
        name = await the_project(client, project)
        room = asyncio.Semaphore(_AT_ONCE)
        with bars(session.notes)("asked", len(pictures)) as advance:

            async def ask(path: Path, data: bytes) -> "PredictionCompleted | PredictionFailed":
                async with room:
                    answer = await client.predict(name, await request_for(client.blobs, data, {"file": path.name}))
                    advance(1)
                    return answer

            return await asyncio.gather(*(ask(path, data) for path, data in pictures))

    answers = session.run(work)
    failed = _report(session, images, answers, as_json)
    if failed:
        raise typer.Exit(1)


def _picture(path: Path) -> bytes:
    from services.chassis.images import BadImage, decode

    try:
        data = path.read_bytes()
        decode(data)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from None
    except BadImage as error:
        raise BadInput(f"{path}: {error}; nothing was asked") from None
    return data


def _report(
    session: Session, images: list[Path], answers: "list[PredictionCompleted | PredictionFailed]", as_json: bool
) -> int:
    """Show the answers; returns how many are failures."""
    from rich.table import Table

    from contracts.events.prediction import PredictionFailed

    failed = sum(isinstance(answer, PredictionFailed) for answer in answers)
    if as_json:
        rows: list[dict[str, Any]] = [
            {"file": str(path), "answered": not isinstance(answer, PredictionFailed), **answer.model_dump(mode="json")}
            for path, answer in zip(images, answers, strict=True)
        ]
        session.json(rows)
        return failed
    table = Table("image", "class", "sure", "version", "ms", "prediction id", box=None)
    for path, answer in zip(images, answers, strict=True):
        if isinstance(answer, PredictionFailed):
            table.add_row(str(path), "no answer", "", "", "", answer.prediction_id)
            session.notes.print(f"{path}: {answer.reason}")
        else:
            sure, ms = f"{answer.confidence:.0%}", f"{answer.timings.total_ms:.0f}"
            table.add_row(str(path), answer.label, sure, str(answer.model_version), ms, answer.prediction_id)
    session.out.print(table)
    return failed


def feedback(
    context: typer.Context,
    prediction_id: Annotated[str, typer.Argument(metavar="PREDICTION_ID", help="As `loopline predict` shows it.")],
    correct: Annotated[str, typer.Option(metavar="CLASS", help="The true class, also where the answer was right.")],
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who says so; you when missing.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Say what is right about a prediction. It becomes a label, and with it a part of the next dataset version."""
    from contracts.events.feedback import FeedbackGiven
    from services.chassis.client import whoami

    session = session_of(context)

    async def work(client: "Client") -> "Envelope":
        name = await the_project(client, project)
        found = await client.find_prediction(prediction_id, name)
        if found is None:
            raise BadInput(f"{name} has no prediction {prediction_id}: is the id whole, and the project the right one?")
        answer, _ = found
        if correct not in answer.classes:
            raise BadInput(f"{correct!r} is no class of {name}: {', '.join(answer.classes)}")
        given = FeedbackGiven(
            prediction_id=answer.prediction_id,
            image=answer.image,
            predicted=answer.label,
            correct=correct,
            given_by=by or whoami(),
            model_version=answer.model_version,
        )
        return await client.say(given, project=name)

    envelope = session.run(work)
    if as_json:
        session.json({"id": envelope.id, "project": envelope.project, "prediction_id": prediction_id})
    else:
        session.out.print(f"said that {prediction_id} is {correct}")
