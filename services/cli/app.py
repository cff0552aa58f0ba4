"""The command `loopline`: its commands, and how it says no."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from services.chassis.errors import explain
from services.cli import (
    alive,
    approving,
    dataset_versions,
    dead,
    doctor,
    drift,
    importing,
    labelling,
    lineage,
    models,
    predicting,
    projects,
    publishing,
    replay,
    running,
    schedule,
    status,
    training,
    watching,
)
from services.cli.demo import command
from services.cli.session import Session


class OneLine(TyperGroup):
    """Every error is one line on standard error. Exit code 2: what was asked cannot be done, nothing was changed."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit with its code."""
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.TyperException as error:
            text = error.format_message()
            typer.echo(text if "\n" in text else f"loopline: {text}", err=True)
            code = error.exit_code
        except ValidationError as error:
            typer.echo(f"loopline: a LOOPLINE_ setting is wrong: {explain(error)}", err=True)
            code = 2
        except typer.Abort:
            code = 130
        except Exception as error:
            if os.environ.get("LOOPLINE_LOG_LEVEL", "").upper() == "DEBUG":
                traceback.print_exc()
            typer.echo(f"loopline: {type(error).__name__}: {error} (LOOPLINE_LOG_LEVEL=DEBUG shows where)", err=True)
            code = 1
        sys.exit(code or 0)


app = typer.Typer(
    cls=OneLine,
    name="loopline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Label, train, judge, deploy, predict, correct: talk to the loop.",
)


@app.callback()
def prepare(context: typer.Context) -> None:
    """Give every command its session, unless a caller brought one."""
    if context.obj is None:
        context.obj = Session()


app.add_typer(projects.projects, name="project")
app.command("import")(importing.import_images)
app.command("label")(labelling.label)
app.add_typer(dataset_versions.datasets, name="dataset")
app.command("train")(training.train)
app.command("cancel")(training.cancel)
app.command("run")(running.run)
app.add_typer(models.models, name="models")
models.models.command("approve")(approving.approve)
models.models.command("reject")(approving.reject)
models.models.command("demote")(approving.demote)
app.command("lineage")(lineage.lineage)
app.command("drift")(drift.drift)
app.command("predict")(predicting.predict)
app.command("feedback")(predicting.feedback)
app.command("publish")(publishing.publish)
app.command("watch")(watching.watch)
app.command("status")(status.status)
app.add_typer(dead.dead, name="dead")
app.command("replay")(replay.replay)
app.add_typer(schedule.schedules, name="schedule")
app.command("services")(alive.services)
app.command("doctor")(doctor.doctor)
app.command("demo")(command.demo)


def main() -> None:
    """The entry point."""
    app()
