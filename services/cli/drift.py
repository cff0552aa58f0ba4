"""`loopline drift`: what the watch saw last of the version that serves."""

from typing import TYPE_CHECKING, Any

import typer

from services.cli.options import AsJson, Project
from services.cli.session import Session, session_of, the_project

if TYPE_CHECKING:
    from services.chassis.client import Client


def drift(context: typer.Context, project: Project = None, as_json: AsJson = False) -> None:
    """Show each statistic of the last window, its limit, and since when it drifts."""
    session = session_of(context)

    async def work(client: "Client") -> tuple[str, dict[str, Any]]:
        from contracts.topology import WATCHED

        name = await the_project(client, project)
        found = await client.bucket(WATCHED).get(f"state.{name}")
        return name, found[0] if found else {}

    name, state = session.run(work)
    if as_json:
        shown = ("version", "reference", "waiting", "looks", "retrained_at")
        session.json({"project": name, **{key: state.get(key) for key in shown}})
    else:
        _show(session, name, state)


def _show(session: Session, name: str, state: dict[str, Any]) -> None:
    if not state:
        session.out.print(f"{name} is not watched yet: no version serves, or the evaluator is not running")
        return
    version, waiting = state["version"], state["waiting"]
    if not state["reference"]:
        session.out.print(
            f"version {version} of {name} has {waiting} answers so far; "
            "when they are enough (watch.reference on the card), later ones are compared with them"
        )
        return
    reference = state["reference"]
    session.out.print(f"version {version} of {name}, compared with its first {reference} answers; {waiting} are new")
    if not state["looks"]:
        session.out.print("no window is full yet (watch.window on the card)")
        return
    from rich.table import Table

    table = Table("", "now", "limit", "chance", "drift if below", "answers", "looked at", "drifts since", box=None)
    for look in state["looks"]:
        limit = f"{'at least ' if look['kind'] == 'accuracy' else 'at most '}{look['threshold']:g}"
        table.add_row(
            look["kind"],
            f"{look['statistic']:.3f}",
            limit,
            f"{look['p_value']:.2g}",
            f"{look['p_threshold']:.2g}",
            str(look["count"]),
            _at(look["at"]),
            _at(look["drifting_since"]) if look["drifting_since"] else "",
        )
    session.out.print(table)
    for look in state["looks"]:
        if look["drifting_since"]:
            session.out.print(look["sentence"])


def _at(text: str) -> str:
    from datetime import datetime

    return datetime.fromisoformat(text).astimezone().strftime("%m-%d %H:%M:%S")
