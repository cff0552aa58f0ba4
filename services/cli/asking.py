"""What a command asks a person before it does it."""

from datetime import datetime
from typing import Annotated

import typer

from services.cli.errors import BadInput
from services.cli.watching import span

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
    try:
        back = span(text)
        return datetime.fromisoformat(text).astimezone() if back is None else now - back
    except (ValueError, OverflowError):
        raise BadInput(f"{option} {text}: write a span back from now, such as 2h or 3d, or an ISO time") from None
