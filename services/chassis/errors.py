"""The kinds of errors that decide what becomes of a message. Anything not named here is retried, then dead-lettered."""


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
