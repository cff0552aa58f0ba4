"""The options that many commands share."""

from typing import Annotated

import typer

from services.cli.session import check_project

Project = Annotated[
    str | None,
    typer.Option(
        "--project",
        "-p",
        callback=check_project,
        envvar="LOOPLINE_PROJECT",
        metavar="NAME",
        help="Which project; the only one there is when missing.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]
