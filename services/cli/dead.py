"""`loopline dead`: what could not be handled, and its two ways out."""

import base64
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.asking import Yes, confirmed, moment
from services.cli.errors import BadInput, Failed
from services.cli.options import AsJson, Project
from services.cli.session import Session, session_of

if TYPE_CHECKING:
    from services.chassis.client import Client
    from services.chassis.dead import Chosen, DeadLetter

dead = typer.Typer(
    no_args_is_help=True,
    help="Messages that a service gave up on: list, show, replay, discard.",
)

_REASON_CHARS = 200

Service = Annotated[str | None, typer.Option(metavar="NAME", help="Only those that this service gave up on.")]
Type = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only these events.")]
Since = Annotated[str | None, typer.Option(metavar="2h", help="Only those given up since: a span back, or ISO time.")]
Letter = Annotated[int, typer.Argument(metavar="ID", min=1, help="The number in `loopline dead list`.")]


@dead.command("list")
def list_(
    context: typer.Context,
    project: Project = None,
    service: Service = None,
    type_: Type = None,
    since: Since = None,
    as_json: AsJson = False,
) -> None:
    """List the dead letters, oldest first, with the reason of each."""
    from services.chassis.dead import ALL

    session = session_of(context)
    chosen = _chosen(project, service, type_, since)
    letters = _read(session, chosen)
    if as_json:
        session.json([_summary(letter) for letter in letters])
    elif letters:
        _table(session, letters)
        session.notes.print("loopline dead show ID tells all of one; then replay it, or discard it")
    elif chosen == ALL:
        session.out.print("no dead letters: every message was handled, or is still being tried")
    else:
        session.out.print("no dead letter is of that kind; loopline dead list shows all")


@dead.command()
def show(context: typer.Context, letter: Letter, as_json: AsJson = False) -> None:
    """Show one dead letter: the event, why it was given up, the stack and the trace."""
    from services.chassis.dead import printable

    session = session_of(context)

    async def work(client: "Client") -> "DeadLetter":
        return await client.dead.find(letter)

    found = session.run(work)
    whole = {**_summary(found), "stack": found.stack, "headers": dict(found.headers), "body": _body(found)}
    if as_json:
        session.json(whole)
        return
    lines = [f"{name:<9} {value}" for name, value in _summary(found).items() if value != ""]
    lines += ["", found.stack.rstrip(), ""]
    lines += [f"{name}: {value}" for name, value in sorted(found.headers.items())]
    body = whole["body"]
    lines += ["", body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)]
    session.out.print(printable("\n".join(lines)))
    if found.whole_bytes is not None:
        session.notes.print(f"this is the beginning of {found.whole_bytes:,} bytes, which could not be kept whole")


@dead.command()
def replay(
    context: typer.Context,
    letters: Annotated[list[int] | None, typer.Argument(metavar="ID…", help="Which; or --all.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that the options below leave.")] = False,
    project: Project = None,
    service: Service = None,
    type_: Type = None,
    since: Since = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give dead letters back to the durable that failed, and to no one else.

    The message keeps its id: an effect that it had before it failed is found again and not made twice. If it fails
    again it is a new dead letter. With --all it is asked first.
    """
    session = session_of(context)
    if all_ == bool(letters):
        raise BadInput("name the dead letters to replay, or say --all: loopline dead list")
    if letters and (service, type_, since) != (None, None, None):
        raise BadInput("--service, --type and --since go with --all; with numbers they mean nothing")
    if all_:
        chosen = _read(session, _chosen(project, service, type_, since))
        letters = [letter.id for letter in chosen]
        if not letters:
            session.json([]) if as_json else session.out.print("there is no dead letter to replay")
            return
        if not yes and not confirmed(f"Replay {len(letters)} dead letters ({_by_durable(chosen)})?"):
            return

    async def give_back(client: "Client", id_: int) -> "DeadLetter":
        from services.chassis.client import whoami

        return await client.dead.replay(id_, whoami())

    _each(session, letters or [], give_back, "went back to {durable}", as_json)


@dead.command()
def discard(
    context: typer.Context,
    letters: Annotated[list[int], typer.Argument(metavar="ID…", help="Which.")],
    why: Annotated[str, typer.Option(help="Kept in the history, as `message.discarded`.")],
    as_json: AsJson = False,
) -> None:
    """Throw dead letters away: these messages will not be handled."""
    session = session_of(context)
    if not why.strip() or len(why) > 500:
        raise BadInput("--why: say in 1 to 500 characters why these messages need not be handled")

    async def throw_away(client: "Client", id_: int) -> "DeadLetter":
        from services.chassis.client import whoami

        return await client.dead.discard(id_, why.strip(), whoami())

    _each(session, letters, throw_away, "thrown away, {durable} will not handle it", as_json)


def _chosen(project: str | None, service: str | None, type_: str | None, since: str | None) -> "Chosen":
    from services.chassis.dead import Chosen
    from services.cli import naming

    by = None if service is None else naming.service(service)
    name = naming.event_type(type_).name() if type_ else None
    return Chosen(project, by, name, moment(since, datetime.now(UTC), "--since") if since else None)


def _read(session: Session, chosen: "Chosen") -> "list[DeadLetter]":
    async def work(client: "Client") -> "list[DeadLetter]":
        return [letter async for letter in client.dead.read(chosen)]

    return session.run(work)


def _each(
    session: Session,
    letters: list[int],
    do: "Callable[[Client, int], Awaitable[DeadLetter]]",
    done: str,
    as_json: bool,
) -> None:
    """Do it to one after the other; one that cannot be done does not keep the others from it."""
    from services.chassis.errors import Rejected

    outcomes: list[dict[str, Any]] = []

    async def work(client: "Client") -> None:
        for id_ in dict.fromkeys(letters):
            try:
                letter = await do(client, id_)
                outcomes.append({"id": id_, "done": True, "durable": letter.durable, "event_id": _event_id(letter)})
                if not as_json:
                    session.out.print(f"{id_}: {letter.name or 'a message'} {done.format(durable=letter.durable)}")
            except Rejected as error:
                outcomes.append({"id": id_, "done": False, "reason": str(error)})
                session.notes.print(f"{id_}: {error}")

    session.run(work)
    if as_json:
        session.json(outcomes)
    if failed := [outcome["id"] for outcome in outcomes if not outcome["done"]]:
        raise Failed(f"{len(failed)} of {len(outcomes)} could not be done")


def _table(session: Session, letters: "list[DeadLetter]") -> None:
    from rich.table import Table

    from services.chassis.dead import printable

    table = Table("id", "when", "durable", "event", "project", "tries", "reason", box=None)
    for letter in letters:
        table.add_row(
            str(letter.id),
            letter.at.astimezone().strftime("%m-%d %H:%M:%S"),
            letter.durable,
            letter.name or "no event",
            letter.project or "none",
            str(letter.tries),
            printable(letter.reason)[:_REASON_CHARS],
        )
    session.out.print(table)


def _summary(letter: "DeadLetter") -> dict[str, Any]:
    return {
        "id": letter.id,
        "at": letter.at.isoformat(),
        "durable": letter.durable,
        "service": letter.service,
        "stream": letter.stream,
        "sequence": letter.sequence,
        "subject": letter.subject,
        "type": letter.type,
        "project": letter.project,
        "event_id": _event_id(letter),
        "tries": letter.tries,
        "reason": letter.reason,
        "trace_id": letter.trace_id,
    }


def _event_id(letter: "DeadLetter") -> str:
    return letter.envelope.id if letter.envelope else ""


def _by_durable(letters: "list[DeadLetter]") -> str:
    counts = Counter(letter.durable for letter in letters)
    return ", ".join(f"{count} of {durable}" for durable, count in counts.items())


def _body(letter: "DeadLetter") -> Any:
    """As JSON where it is that, as text where it is that, otherwise in base64."""
    try:
        text = letter.body.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(letter.body).decode()}"
    try:
        return json.loads(text)
    except ValueError:
        return text
