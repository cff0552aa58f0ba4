"""What became of a message that could not be handled. Said for people: no durable hears these, or they would loop."""

from typing import ClassVar

from pydantic import Field

from contracts.events.base import Event


class MessageDeadLettered(Event):
    """A durable could not handle a message; the whole of it lies on the stream DEAD. Caused by the message itself."""

    TYPE: ClassVar[str] = "loopline.message.dead-lettered.v1"

    letter: int | None = Field(None, ge=1, description="Its number: `loopline dead show NUMBER`", examples=[3])
    durable: str = Field(description="Which durable gave up", examples=["trainer-training"])
    stream: str = Field(description="Where the message was stored", examples=["LOOP"])
    sequence: int = Field(ge=0, description="Its sequence there", examples=[1042])
    type: str = Field(
        "", description="The message's type; empty when it is no event", examples=["loopline.training.requested.v1"]
    )
    reason: str = Field(
        max_length=1000, description="Why it was given up", examples=["Rejected: seed: must be a number"]
    )
    tries: int = Field(ge=1, description="How often it was tried", examples=[5])

    @property
    def natural_key(self) -> str:
        return f"{self.durable}|{self.stream}:{self.sequence}"


class MessageReplayed(Event):
    """A dead letter went back to the durable that had failed, and to no one else. Caused by the message itself."""

    TYPE: ClassVar[str] = "loopline.message.replayed.v1"

    letter: int = Field(ge=1, description="The number that it had", examples=[3])
    durable: str = Field(description="Where it went", examples=["trainer-training"])
    type: str = Field("", description="The message's type", examples=["loopline.training.requested.v1"])
    replayed_by: str = Field("", max_length=200, description="Who decided it", examples=["ines"])

    @property
    def natural_key(self) -> str:
        return str(self.letter)


class MessageDiscarded(Event):
    """A dead letter was thrown away: the message will not be handled. Caused by the message itself."""

    TYPE: ClassVar[str] = "loopline.message.discarded.v1"

    letter: int = Field(ge=1, description="The number that it had", examples=[3])
    durable: str = Field(description="Which durable had given up", examples=["trainer-training"])
    type: str = Field("", description="The message's type", examples=["loopline.training.requested.v1"])
    why: str = Field(min_length=1, max_length=500, description="For the history", examples=["a typing error"])
    discarded_by: str = Field("", max_length=200, description="Who decided it", examples=["ines"])

    @property
    def natural_key(self) -> str:
        return str(self.letter)
