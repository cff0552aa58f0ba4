"""What a command asks a person before it does it."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from services.cli.errors import BadInput
from services.cli.watching import ago

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def confirmed(question: str) -> bool:
    """Whether a person said yes.

    Raises:
        BadInput: nobody is there to answer.
    """
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise BadInput(f"{question} Nobody answered, nothing was done: say --yes") from None


def moment(text: str, now: datetime, option: str) -> datetime:
    """`2h` ago, or an ISO time; one without a zone is local.

    Raises:
        BadInput: it is neither.
    """
    if text and text[-1] in "smhd" and text[:-1].isdigit():
        return now - (ago(text) if len(text) <= 7 else timedelta.max)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise BadInput(f"{option} {text}: write a span back from now, such as 2h or 3d, or an ISO time") from None
