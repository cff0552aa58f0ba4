"""What a command is given: settings, a way to the bus, and the terminal."""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.console import Console

from services.cli.errors import BadInput

if TYPE_CHECKING:
    from contracts.project import ScopeCard
    from services.chassis.client import Client
    from services.cli.settings import CliSettings

T = TypeVar("T")

Connect = Callable[["CliSettings"], "AbstractAsyncContextManager[Client]"]


# Imported late, as everything in a command that is not small: `loopline --help` is to be instant.
def _settings() -> "CliSettings":
    from services.cli.settings import CliSettings

    return CliSettings()


def _connect(settings: "CliSettings") -> "AbstractAsyncContextManager[Client]":
    from services.chassis.client import Client

    return Client.connect(settings)


# Of what goes into a pipe or a file: there a table is as wide as its text, and nothing is cut.
_WIDE = 1000


def _console(stderr: bool = False) -> Console:
    person = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if person else _WIDE
    return Console(stderr=stderr, width=width, markup=False, highlight=False, soft_wrap=True)


@dataclass
class Session:
    """One run of the command. Answers go to `out`, whatever else a person should know to `notes` (standard error)."""

    settings: "CliSettings" = field(default_factory=_settings)
    connect: Connect = _connect
    out: Console = field(default_factory=_console)
    notes: Console = field(default_factory=lambda: _console(stderr=True))

    def run(self, work: "Callable[[Client], Awaitable[T]]") -> T:
        """Connect, do the work, and disconnect.

        Raises:
            BadInput: the bus cannot be reached, or does not let us do it.
        """
        return asyncio.run(self._run(work))

    async def _run(self, work: "Callable[[Client], Awaitable[T]]") -> T:
        from services.chassis.errors import Away, NotAllowed, Rejected, Unreachable

        try:
            async with self.connect(self.settings) as client:
                return await work(client)
        except (Unreachable, NotAllowed, Rejected, Away) as error:
            raise BadInput(str(error)) from error
        except TimeoutError as error:
            raise BadInput(f"NATS at {self.settings.nats_url} did not answer in time: is the stack up?") from error

    def json(self, value: Any) -> None:
        """One line of JSON on standard output."""
        typer.echo(json.dumps(value, ensure_ascii=False, default=str))


def session_of(context: typer.Context) -> Session:
    """The session of this run."""
    found = context.obj
    assert isinstance(found, Session)
    return found


def check_project(name: str | None) -> str | None:
    """A project's name as it was typed, or a refusal: it becomes a part of subjects and paths."""
    return check_name(name, "a project's name")


def check_name(name: str | None, what: str) -> str | None:
    """A name as it was typed, or a refusal that says what it cannot be."""
    from contracts.events.base import PROJECT_PATTERN

    if name is not None and not re.fullmatch(PROJECT_PATTERN, name):
        raise BadInput(f"{name!r} cannot be {what}: 1 to 40 of a-z, 0-9 and -, no - at either end")
    return name


async def card_of(client: "Client", project: str) -> "ScopeCard":
    """The card of a project.

    Raises:
        BadInput: it has none.
    """
    from contracts.events.project import ProjectDefined

    found = await client.last(ProjectDefined, project)
    if found is None:
        known = ", ".join(await client.projects()) or "none yet"
        raise BadInput(f"the project {project} is not defined (defined: {known}): loopline project apply FILE")
    return found[0].card


async def the_project(client: "Client", given: str | None) -> str:
    """The project asked for, which must be defined; the only one where none is named."""
    if given is not None:
        await card_of(client, given)
        return given
    known = await client.projects()
    if len(known) != 1:
        raise BadInput(f"name the project with --project: {', '.join(known) or 'none is defined yet'}")
    return known[0]
