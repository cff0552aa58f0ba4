"""What the command line says no to: one line on standard error, and its exit code."""

import typer


class BadInput(typer.TyperException):
    """What was asked for cannot be done as it was written; nothing was changed. The text says what to do."""

    exit_code = 2


class Failed(typer.TyperException):
    """It was understood and tried, and did not work out."""

    exit_code = 1
