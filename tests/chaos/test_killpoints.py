"""Each service dies between any two of its side effects and is started again: the end is the one without a death.

The plays do not touch each other, a bus and a project each, so that several run at a time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.chaos.killpoints import STANDING_STILL, every_point
from tests.chaos.killpoints_doubts import PLAYS as DOUBTS
from tests.chaos.killpoints_labels import PLAYS as LABELS
from tests.chaos.killpoints_list import HANDLERS
from tests.chaos.killpoints_models import PLAYS as MODELS
from tests.chaos.killpoints_models import SUPERSEDED, WANTED_AGAIN
from tests.chaos.killpoints_nodes import OVERTAKEN, share_a_model
from tests.chaos.killpoints_nodes import PLAYS as NODES
from tests.chaos.killpoints_play import killed, overslept, redelivered, repeated, undisturbed
from tests.chaos.killpoints_scene import Surroundings
from tests.chaos.killpoints_watch import PLAYS as WATCH
from tests.conftest import LabelStudioServer

pytestmark = [pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

_AT_ONCE = 4

PLAYS = {play.handler.name: play for play in (*LABELS, *DOUBTS, *MODELS, *NODES, *WATCH)}
NAMES = [one.name for one in HANDLERS]
# What a service does by itself has no event that could be delivered twice.
HEARD = [one.name for one in HANDLERS if not one.heard.startswith("by itself")]
# Of what is refused each copy is a letter of its own.
COPIED = [name for name in HEARD if "any message" not in name]
POINTS = [pytest.param(one.name, point.before, id=f"{one.name}: {point.before}") for one, point in every_point()]
SLEEPS = [pytest.param(name, before, id=f"{name}: {before}") for name, before in STANDING_STILL]

Played = Mapping[str, "asyncio.Task[list[str]]"]

# What each test plays, by its name.
ACTS: dict[str, Callable[..., Awaitable[list[str]]]] = {
    "test_the_list_names_every_side_effect": lambda around, name: undisturbed(PLAYS[name], around),
    "test_a_death_at_any_point_changes_nothing": lambda around, name, before: killed(PLAYS[name], before, around),
    "test_a_replica_that_oversleeps_does_nothing_twice": lambda around, name, before: overslept(
        PLAYS[name], before, around
    ),
    "test_a_wish_for_a_repetition_is_a_new_cause": lambda around, name: repeated(PLAYS[name], 2, 2, around),
    "test_what_newer_things_happen_after_a_death_leave_one_outcome": lambda around, name, before: killed(
        PLAYS[name], before, around
    ),
    "test_five_copies_before_two_replicas_have_one_effect": lambda around, name: repeated(PLAYS[name], 5, 2, around),
    "test_five_deliveries_of_an_event_have_one_effect": lambda around, name: redelivered(PLAYS[name], 5, around),
}


# Plays beside those of the list.
AGAIN = "trainer: wanted again"
PLAYS[AGAIN] = WANTED_AGAIN
PLAYS["trainer: superseded meanwhile"] = SUPERSEDED
PLAYS["deployer: overtaken meanwhile"] = OVERTAKEN
MEANWHILE = [("trainer: superseded meanwhile", "mlflow POST runs/log-batch"), ("deployer: overtaken meanwhile", "ack")]


@pytest.fixture(scope="module")
def around(
    tmp_path_factory: pytest.TempPathFactory, label_studio: LabelStudioServer, mlflow_url: str, triton: str
) -> Surroundings:
    return Surroundings(tmp_path_factory.mktemp("killpoints"), label_studio, mlflow_url, triton)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(request: pytest.FixtureRequest, around: Surroundings) -> AsyncIterator[Played]:
    """The plays of all tests that were asked for, by the names of the tests; some run at a time, in that order."""
    places = asyncio.Semaphore(_AT_ONCE)
    await share_a_model(around)

    async def in_turn(act: Callable[[], Awaitable[list[str]]]) -> list[str]:
        async with places:
            return await act()

    def of(item: Any) -> Callable[[], Awaitable[list[str]]]:
        return lambda: ACTS[item.originalname](around, **item.callspec.params)

    mine = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    tasks = {item.name: asyncio.create_task(in_turn(of(item))) for item in mine}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.wait(tasks.values())


@pytest.mark.parametrize("name", NAMES)
async def test_the_list_names_every_side_effect(name: str, played: Played, request: pytest.FixtureRequest) -> None:
    handler = PLAYS[name].handler
    made = handler.own(await played[request.node.name])
    listed = [point.before for point in handler.points]
    if handler.at_once:
        made, listed = sorted(made), sorted(listed)
    assert made == listed


@pytest.mark.parametrize(("name", "before"), POINTS)
async def test_a_death_at_any_point_changes_nothing(
    name: str, before: str, played: Played, request: pytest.FixtureRequest
) -> None:
    handler = PLAYS[name].handler
    made = handler.own(await played[request.node.name])
    if not handler.at_once:
        listed = [point.before for point in handler.points]
        assert made == listed[: listed.index(before)]
    assert before not in made


@pytest.mark.parametrize(("name", "before"), SLEEPS)
async def test_a_replica_that_oversleeps_does_nothing_twice(
    name: str, before: str, played: Played, request: pytest.FixtureRequest
) -> None:
    await played[request.node.name]


@pytest.mark.parametrize(("name", "before"), MEANWHILE)
async def test_what_newer_things_happen_after_a_death_leave_one_outcome(
    name: str, before: str, played: Played, request: pytest.FixtureRequest
) -> None:
    await played[request.node.name]


@pytest.mark.parametrize("name", COPIED)
async def test_five_copies_before_two_replicas_have_one_effect(
    name: str, played: Played, request: pytest.FixtureRequest
) -> None:
    await played[request.node.name]


@pytest.mark.parametrize("name", HEARD)
async def test_five_deliveries_of_an_event_have_one_effect(
    name: str, played: Played, request: pytest.FixtureRequest
) -> None:
    await played[request.node.name]


@pytest.mark.parametrize("name", [AGAIN])
async def test_a_wish_for_a_repetition_is_a_new_cause(
    name: str, played: Played, request: pytest.FixtureRequest
) -> None:
    await played[request.node.name]
