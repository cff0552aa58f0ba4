"""What the command line says no to: one line on standard error, and its exit code."""

import typer
from pydantic import ValidationError


class BadInput(typer.TyperException):
    """What was asked for cannot be done as it was written; nothing was changed. The text says what to do."""

    exit_code = 2


class Failed(typer.TyperException):
    """It was understood and tried, and did not work out."""

    exit_code = 1


def sentence(error: ValidationError) -> str:
    """What is wrong with an input, field by field, in a line."""
    parts = []
    for problem in error.errors(include_url=False, include_input=False)[:5]:
        field = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            text = "there is no such field"
        parts.append(f"{field}: {text}" if field else text)
    return "; ".join(parts)
