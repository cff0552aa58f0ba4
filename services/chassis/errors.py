"""The kinds of errors that decide what becomes of a message. Anything not named here is retried, then dead-lettered."""

from pydantic import ValidationError


class Rejected(Exception):
    """Bad input, which no repetition mends: straight to the dead letters, with its text as the reason."""


class Retry(Exception):
    """Not now: tried again after the pauses of the topology."""


class Busy(Retry):
    """Another one holds the claim on this piece of work."""


class Unreachable(Exception):
    """The bus cannot be reached; the text says where it was looked for and what to do."""


class NotAllowed(Exception):
    """The server does not let this user say or hear that."""


def explain(error: ValidationError) -> str:
    """What is wrong with an input, field by field, in a line, without repeating the input."""
    parts = []
    for problem in error.errors(include_url=False, include_input=False)[:5]:
        field = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            text = "there is no such field"
        parts.append(f"{field}: {text}" if field else text)
    return "; ".join(parts)
