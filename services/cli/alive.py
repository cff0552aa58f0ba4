"""`loopline services`: who is there."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from services.cli.options import AsJson
from services.cli.session import session_of

if TYPE_CHECKING:
    from services.chassis.client import Client
    from services.chassis.presence import Alive


def services(context: typer.Context, as_json: AsJson = False) -> None:
    """Show every process of a service that answers now: its version, since when it runs, the contracts it knows."""
    from rich.table import Table

    session = session_of(context)

    async def work(client: "Client") -> "Sequence[Alive]":
        return await client.alive()

    found = session.run(work)
    if as_json:
        session.json([asdict(one) for one in found])
        return
    table = Table("service", "replica", "version", "since", "contracts", box=None)
    for one in found:
        table.add_row(one.name, one.replica, one.version, one.started, one.contracts)
    for name in _away(found):
        table.add_row(name, "does not answer", "", "", "")
    session.out.print(table)


async def trouble_of(client: "Client") -> list[str]:
    """What is wrong around the loop, in sentences: services that do not answer, streams that are nearly full."""
    away = _away(await client.alive())
    sentences = [f"not running: {', '.join(away)}"] if away else []
    return sentences + [f"{fill.stream}: {fill.warning}" for fill in await client.fills() if fill.warning]


def _away(found: "Sequence[Alive]") -> list[str]:
    """The services of which no process answered."""
    from contracts.topology import SERVICES

    running = {one.name for one in found}
    return [name for name in SERVICES if name not in running]
