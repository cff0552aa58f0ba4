"""`loopline demo`: brings the stack up, tells the story, writes the report, takes the stack down."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.chassis.settings import VAR
from services.cli.errors import BadInput, Failed
from services.cli.session import Session, session_of
from services.cli.settings import CliSettings

if TYPE_CHECKING:
    from contracts.project import ScopeCard
    from services.chassis.client import Client

_STACK = (sys.executable, "-m", "deploy.embedded")


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running afterwards, to look at.")] = False,
) -> None:
    """Run the whole loop twice on real photographs of solar cells, about five minutes on two cores.

    Starts the embedded stack where none runs, and stops what it started. A project of its own each time: solar,
    solar-2, …
    """
    session = session_of(context)
    # Whoever ends the demo ends what it started, too: an exit runs the `finally` below, the signal alone would not.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    ran_before = _stack("status", quiet=True) == 0
    if not ran_before and _stack("up", "--detach") != 0:
        raise Failed("the stack did not come up: see above")
    try:
        # The stack has just written where everything is.
        session.settings = CliSettings()
        session.run(lambda client: _tell(client, session))
        if keep or ran_before:
            _stack("status")
            session.out.print("\nThe stack is still running: look around. `./taskw down` stops it.")
    finally:
        if not keep and not ran_before:
            _stack("down")


def _stack(*arguments: str, quiet: bool = False) -> int:
    silent = subprocess.DEVNULL if quiet else None
    return subprocess.run([*_STACK, *arguments], stdout=silent, stderr=silent, check=False).returncode


async def _tell(client: "Client", session: Session) -> None:
    from itertools import islice

    from services.cli.datasets import elpv, truth
    from services.cli.demo.report import show_turns, spans_of, turn_report
    from services.cli.demo.story import INSPECTOR, LABELLED_FIRST, PREDICTED, Demo, DemoFailed
    from services.cli.labelling import Inspector

    settings = session.settings
    images = await asyncio.to_thread(lambda: list(islice(elpv(), LABELLED_FIRST + PREDICTED)))
    inspector = Inspector(
        settings.label_studio_url,
        settings.label_studio_token.get_secret_value(),
        await asyncio.to_thread(truth, "elpv"),
        INSPECTOR,
    )
    story = Demo(client, inspector, session.out, await _card(client))
    try:
        turns = await story.run(images)
    except DemoFailed as error:
        raise Failed(f"the demo ended early: {error}") from error
    spans = await spans_of(turns, settings.traces_dir)
    show_turns(session.out, turns, spans)
    report = story.counts() | {"turns": [turn_report(turn, spans) for turn in turns]}
    session.out.print(f"\nThe report is in {_write(report)}")


async def _card(client: "Client") -> "ScopeCard":
    """The solar card, under the first name that no project has."""
    from contracts.project import ScopeCard
    from services.cli.cards import load_card

    card = load_card("solar")
    taken = set(await client.projects())
    names = (card.project if n == 1 else f"{card.project}-{n}" for n in range(1, len(taken) + 2))
    name = next(name for name in names if name not in taken)
    return ScopeCard.model_validate(card.model_dump() | {"project": name})


def _write(report: dict[str, Any]) -> Path:
    path = VAR / "demo" / "report.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n")
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from error
    return path
