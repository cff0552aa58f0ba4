"""`loopline replay`: the stored facts of a span again, to read, or to one service alone."""

from collections import Counter
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from services.cli.asking import Yes, confirmed, moment
from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.progress import bars
from services.cli.session import Session, session_of

if TYPE_CHECKING:
    from contracts.topology import Consumer
    from services.chassis.client import Client
    from services.chassis.replaying import Span

    Heard = list[tuple[Consumer, Span]]


def replay(
    context: typer.Context,
    since: Annotated[str, typer.Option(metavar="WHEN", help="From when: 2h, 3d, an ISO time, or `start`.")],
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Up to when; now when missing.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only these events; once for each.")
    ] = None,
    project: Project = None,
    to: Annotated[
        str | None, typer.Option(metavar="SERVICE", help="Give them to this service, and no one else.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Read the stored facts of a span in order, an object a line with --json; or give them to a service once more.

    With --to, what the durables of that service hear is counted and, when you say yes, given to it alone. Each fact
    keeps its id, so that a run, a version or a rollout that exists is found again: effects stay as they are, and what
    is missing is made. To have something made anew is another wish: loopline train --again.

    What was asked of the predictor (prediction.requested) is not stored once it was answered.
    """
    from services.chassis.replaying import Span
    from services.cli.naming import event_type

    session = session_of(context)
    now = datetime.now(UTC)
    start = None if since == "start" else moment(since, now, "--since")
    end = min(moment(until, now, "--until"), now) if until else now
    if start and start >= end:
        raise BadInput(f"--since {since} is not before --until {until or 'now'}")
    span = Span(start, end, tuple(event_type(name) for name in types or ()), project)
    if to is None:
        _read(session, span, as_json)
    else:
        _give(session, to, span, yes, as_json)


def _read(session: Session, span: "Span", as_json: bool) -> None:
    from services.chassis.replaying import facts
    from services.cli.telling import tell
    from services.cli.watching import as_object

    async def work(client: "Client") -> int:
        count = 0
        # Closed before the connection is, which it has to say goodbye to.
        async with aclosing(facts(client.bus, span)) as found:
            async for event, envelope in found:
                count += 1
                if as_json:
                    session.json(as_object(event, envelope))
                else:
                    day = envelope.time.astimezone().strftime("%Y-%m-%d")
                    session.out.print(f"{day} {tell(event, envelope, of=span.project is None)}")
        return count

    if not session.run(work):
        session.notes.print("nothing is stored of that span")


def _give(session: Session, service: str, span: "Span", yes: bool, as_json: bool) -> None:
    rows = _heard(service, span)
    counts = session.run(lambda client: _count(client, rows))
    total = sum(sum(of.values()) for of in counts.values())
    if not as_json:
        for durable, of in counts.items():
            what = ", ".join(f"{count:,} {name}" for name, count in sorted(of.items())) or "nothing"
            session.out.print(f"{durable}: {what}")
    given = 0
    if total and (yes or (not as_json and confirmed(f"Give these {total:,} facts to {service} once more?"))):
        given = session.run(lambda client: _give_all(session, client, rows, total))
        if not as_json:
            session.out.print(f"{given:,} facts went to {service}: loopline status shows how far it is")
    if as_json:
        session.json({"service": service, "counts": counts, "given": given})


def _heard(service: str, span: "Span") -> "Heard":
    from services.chassis.replaying import durables_of, heard
    from services.cli import naming

    durables = durables_of(naming.service(service))
    if not durables:
        raise BadInput(f"what {service} hears is not stored once it was answered; see loopline dead list")
    rows = [(row, part) for row in durables if (part := heard(row, span))]
    known = {event for row in durables for event in row.hears}
    if strange := [event.name() for event in span.types if event not in known]:
        names = ", ".join(sorted(event.name() for event in known))
        raise BadInput(f"{service} does not hear {', '.join(strange)}, only {names}")
    return rows


async def _count(client: "Client", rows: "Heard") -> dict[str, dict[str, int]]:
    from services.chassis.replaying import stored

    counts: dict[str, dict[str, int]] = {}
    for row, span in rows:
        async with aclosing(stored(client.bus, span)) as messages:
            counts[row.durable] = dict(Counter([message.subject.split(".", 2)[2] async for message in messages]))
    return counts


async def _give_all(session: Session, client: "Client", rows: "Heard", total: int) -> int:
    from services.chassis.replaying import give, stored

    run, given = uuid4().hex, 0
    with bars(session.notes)("giving", total) as advance:
        for row, span in rows:
            async with aclosing(stored(client.bus, span)) as messages:
                async for message in messages:
                    given += await give(client.bus, row, message, run)
                    advance(1)
    return given
