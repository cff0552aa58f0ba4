"""What dies when: drawn from a seed, so that a run can be asked for once more. A seed does not replay a race."""

from dataclasses import dataclass
from random import Random
from typing import Literal

from contracts.topology import SERVICES
from tests.chaos.fleet import REPLICAS
from tests.chaos.link import How

Victim = Literal["leader", "any", "all"]


@dataclass(frozen=True)
class Kill:
    """`kill -9` a replica of a service and start it again `down_s` seconds later."""

    at_s: float
    service: str
    replica: int
    down_s: float

    def __str__(self) -> str:
        return f"kill -9 {self.service}-{self.replica}"


@dataclass(frozen=True)
class KillServer:
    """`kill -9` a nats-server: who leads the stream LOOP, any (`place`), or all at once; back after `down_s`."""

    at_s: float
    victim: Victim
    place: int
    down_s: float

    def __str__(self) -> str:
        return f"kill -9 nats-server ({self.victim}), back in {self.down_s:.1f} s"


@dataclass(frozen=True)
class Cut:
    """Nothing passes between a replica and the bus for `for_s` seconds."""

    at_s: float
    service: str
    replica: int
    how: How
    for_s: float

    def __str__(self) -> str:
        return f"cut {self.service}-{self.replica} off ({self.how}) for {self.for_s:.1f} s"


Blow = Kill | KillServer | Cut


def schedule(random: Random, *, for_s: float, kills: int, restarts: int, cuts: int, servers: int) -> list[Blow]:
    """The blows of a run of `for_s` seconds with so many nats-servers, in order of time.

    Services come in shuffled rounds, so that each is hit equally often. Servers are back before the next one goes.
    """
    blows: list[Blow] = []
    for at_s, service in zip(_times(random, for_s, kills), _rounds(random, kills), strict=True):
        blows.append(Kill(at_s, service, random.randrange(REPLICAS), random.uniform(0, 2)))
    victims: tuple[Victim, ...] = ("leader", "leader", "all", "any") if servers > 1 else ("any",)
    slot_s = for_s / max(restarts, 1)
    for number, at_s in enumerate(_times(random, for_s, restarts)):
        down_s = random.uniform(0.2, min(5.0, slot_s / 3))
        blows.append(KillServer(at_s, victims[number % len(victims)], random.randrange(servers), down_s))
    for number, (at_s, service) in enumerate(zip(_times(random, for_s, cuts), _rounds(random, cuts), strict=True)):
        how: How = "silent" if number % 2 else "closed"
        blows.append(Cut(at_s, service, random.randrange(REPLICAS), how, random.uniform(2, 20)))
    return sorted(blows, key=lambda blow: blow.at_s)


def _times(random: Random, for_s: float, count: int) -> list[float]:
    """One moment in the first half of each of `count` equal slots."""
    slot_s = for_s / max(count, 1)
    return [(number + random.uniform(0, 0.5)) * slot_s for number in range(count)]


def _rounds(random: Random, count: int) -> list[str]:
    """So many services, every one of them in each round."""
    chosen: list[str] = []
    while len(chosen) < count:
        chosen += random.sample(SERVICES, len(SERVICES))
    return chosen[:count]
