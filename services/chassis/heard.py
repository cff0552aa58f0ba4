"""What a handler learns about the message it was given."""

from dataclasses import dataclass

from contracts.envelope import Envelope


@dataclass(frozen=True)
class Heard:
    """The envelope, the try, and `owner`: `<stream>:<sequence>`, the same over all deliveries of one stored message.

    A dead letter that is tried again has the owner that it had at first.
    """

    envelope: Envelope
    owner: str
    tries: int = 1

    @property
    def project(self) -> str:
        """The project it is about."""
        return self.envelope.project
