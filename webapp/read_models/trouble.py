"""The dead letters as the page lists them: what the stream DEAD holds, without the bodies."""

from dataclasses import dataclass
from datetime import datetime

from services.chassis.client import Client
from services.chassis.dead import DeadLetter


@dataclass(frozen=True)
class Letter:
    """One of them. `name` and `project` are empty when it is no event."""

    id: int
    at: datetime
    durable: str
    name: str
    project: str
    reason: str
    tries: int

    @classmethod
    def of(cls, letter: DeadLetter) -> "Letter":
        """The short form."""
        return cls(letter.id, letter.at, letter.durable, letter.name, letter.project, letter.reason, letter.tries)


async def letters(client: Client, known: tuple[Letter, ...]) -> tuple[Letter, ...]:
    """What is there now, oldest first. Of what is `known` only that is read again which might have gone."""
    count, last = await client.dead.extent()
    if count == len(known) and (not known or known[-1].id == last):
        return known
    after = known[-1].id if known else 0
    found = (*known, *[Letter.of(letter) async for letter in client.dead.read(after=after)])
    if len(found) > count:
        found = tuple([Letter.of(letter) async for letter in client.dead.read()])
    return found
