"""What dies when follows from the seed, and everything is hit."""

from collections import Counter
from itertools import pairwise
from random import Random

from contracts.topology import SERVICES
from tests.chaos.schedule import Blow, Cut, Kill, KillServer, schedule


def drawn(seed: int, servers: int = 3) -> list[Blow]:
    return schedule(Random(seed), for_s=60, kills=18, restarts=4, cuts=6, servers=servers)


def test_a_seed_gives_one_schedule_and_another_seed_another() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_blows_come_in_order_and_within_the_time() -> None:
    times = [blow.at_s for blow in drawn(3)]
    assert times == sorted(times)
    assert times[-1] < 60


def test_every_service_is_killed_equally_often_and_cut_off() -> None:
    blows = drawn(4)
    assert Counter(blow.service for blow in blows if isinstance(blow, Kill)) == dict.fromkeys(SERVICES, 3)
    assert {blow.service for blow in blows if isinstance(blow, Cut)} == set(SERVICES)
    assert {blow.how for blow in blows if isinstance(blow, Cut)} == {"closed", "silent"}


def test_a_cluster_loses_its_leader_and_once_all_of_it_and_a_single_server_itself() -> None:
    of_three = Counter(blow.victim for blow in drawn(5) if isinstance(blow, KillServer))
    assert of_three == {"leader": 2, "all": 1, "any": 1}
    assert {(blow.victim, blow.place) for blow in drawn(5, servers=1) if isinstance(blow, KillServer)} == {("any", 0)}


def test_a_server_is_back_before_the_next_one_goes() -> None:
    blows = [blow for blow in drawn(6) if isinstance(blow, KillServer)]
    for one, other in pairwise(blows):
        assert one.at_s + one.down_s < other.at_s
