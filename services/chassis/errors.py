"""The kinds of errors that decide what becomes of a message. Anything not named here is retried, then dead-lettered."""

from pydantic import ValidationError


class Rejected(Exception):
    """Bad input, which no repetition mends: straight to the dead letters, with its text as the reason."""


class Retry(Exception):
    """Not now: tried again after the pauses of the topology."""


class Away(Retry):
    """A system outside does not answer. Waited for as long as it takes, with the message in hand; the text says who."""


class Busy(Retry):
    """Another one is to finish first: it holds the claim on this piece of work, or is to bring the model back."""


class Unreachable(Exception):
    """The bus cannot be reached; the text says where it was looked for and what to do."""


class NotAllowed(Exception):
    """The server does not let this user say or hear that."""


def because_of(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether an error, or one that it was raised from or while handling, is of one of these kinds."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kinds):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def explain(error: ValidationError) -> str:
    """What is wrong with an input, field by field, in a line, without repeating the input."""
    parts = []
    for problem in error.errors(include_url=False, include_input=False)[:5]:
        # Keys of a map are the sender's words, too.
        field = ".".join(str(part)[:40] for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            text = "there is no such field"
        parts.append(f"{field}: {text}" if field else text)
    return "".join(char if char.isprintable() else "?" for char in "; ".join(parts))
