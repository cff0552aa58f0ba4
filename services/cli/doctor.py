"""`loopline doctor`: what is wrong, and what to do about it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from services.cli.options import AsJson
from services.cli.session import session_of

if TYPE_CHECKING:
    from services.chassis.diagnosis import Now
    from services.chassis.finding import Finding
    from services.cli.settings import CliSettings


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Look at everything from outside in, and say what is wrong and what to do. Exits 1 when something is."""
    session = session_of(context)

    async def work() -> "list[Finding]":
        found = []
        async for finding in examine(session.settings):
            found.append(finding)
            if not as_json:
                session.out.print(_line(finding))
        return found

    found = asyncio.run(work())
    faults = [finding for finding in found if finding.fault]
    if as_json:
        session.json({"healthy": not faults, "checks": [{**asdict(one), "ok": not one.fault} for one in found]})
    else:
        session.out.print(f"{len(found)} checks, {len(faults)} faults" if faults else f"{len(found)} checks, all well")
    if faults:
        raise typer.Exit(1)


async def examine(settings: "CliSettings", now: "Now | None" = None) -> "AsyncIterator[Finding]":
    """Every check, as it is done: the bus first, then the servers of others, then the disk."""
    from services.chassis import diagnosis
    from services.cli.checks import disk, servers

    clock = now or diagnosis.now
    async for finding in diagnosis.bus(settings, clock):
        yield finding
    of_servers = await asyncio.gather(
        servers.triton(settings.triton_nodes),
        servers.mlflow(settings.mlflow_url, clock),
        servers.label_studio(settings.label_studio_url, settings.label_studio_token.get_secret_value(), clock),
    )
    for findings in of_servers:
        for finding in findings:
            yield finding
    for finding in await asyncio.to_thread(disk.blobs, settings.blobs_root):
        yield finding


def _line(finding: "Finding") -> str:
    if not finding.fault:
        return f"ok     {finding.what}"
    return f"FAULT  {finding.what}: {finding.fault}. To do: {finding.do}"
