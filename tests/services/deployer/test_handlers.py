from typing import Any

import numpy as np
import pytest

from contracts.events.deployment import DeploymentCompleted, DeploymentFailed, DeploymentStarted, NodeCheck
from services.chassis.errors import Rejected, Retry
from services.deployer.reconciling import NotReconciled
from tests.services.deployer.world import Crash, World


async def test_first_version_is_loaded_checked_and_routed() -> None:
    world = World()
    version = world.version(1)
    assert await world.approved(version) == [
        DeploymentStarted(version=version, nodes=("a", "b")),
        DeploymentCompleted(
            version=version,
            checks=tuple(NodeCheck(node=n, load_s=2.5, golden_images=3, largest_difference=0) for n in ("a", "b")),
        ),
    ]
    assert world.route == (1, None)
    assert world.on_nodes == {"a": ["solar-v1"], "b": ["solar-v1"]}


async def test_previous_stays_loaded_and_older_ones_leave() -> None:
    world = World()
    for number in (1, 2):
        await world.approved(world.version(number))
    started, completed = await world.approved(world.version(3))
    assert isinstance(started, DeploymentStarted)
    assert isinstance(completed, DeploymentCompleted)
    assert (started.replaces, completed.replaces, completed.unloaded) == (2, 2, (1,))
    assert world.route == (3, 2)
    assert world.on_nodes == {"a": ["solar-v2", "solar-v3"], "b": ["solar-v2", "solar-v3"]}


async def test_other_answer_on_a_golden_image_takes_no_traffic() -> None:
    world = World()
    await world.approved(world.version(1))
    world.nodes.answers["b/solar-v2"] = np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6]], dtype=np.float32)
    _, failed = await world.approved(world.version(2))
    assert isinstance(failed, DeploymentFailed)
    assert failed.node == "b"
    assert "golden image 2 of 3: functional instead of defective" in failed.reason
    assert "0.4000 apart" in failed.reason
    assert world.route == (1, None)
    assert world.on_nodes == {"a": ["solar-v1"], "b": ["solar-v1"]}


async def test_refused_model_never_reaches_the_second_node() -> None:
    world = World()
    version = world.version(1)
    world.nodes.refuses[b"solar 1"] = "a says: not a ZIP archive"
    _, failed = await world.approved(version)
    assert isinstance(failed, DeploymentFailed)
    assert (failed.node, failed.reason) == ("a", "solar-v1 takes no traffic: a says: not a ZIP archive")
    assert (world.nodes.loads, world.routes.kept) == ([], {})


@pytest.mark.parametrize("lost", ["file", "golden"])
async def test_lost_file_is_an_answer(lost: str) -> None:
    world = World()
    version = world.version(1)
    del world.artifacts.files[getattr(version.model, lost).uri]
    _, failed = await world.approved(version)
    assert isinstance(failed, DeploymentFailed)
    assert "is not in the blob store" in failed.reason


async def test_file_without_golden_images_is_an_answer() -> None:
    world = World()
    _, failed = await world.approved(world.version(1, golden=b"nothing"))
    assert isinstance(failed, DeploymentFailed)
    assert "golden images cannot be read" in failed.reason


async def test_node_that_is_away_is_waited_for() -> None:
    world = World()
    version = world.version(1)
    world.nodes.away.add("b")
    with pytest.raises(Retry):
        await world.approved(version)
    assert world.routes.kept == {}
    world.nodes.away.clear()
    await world.approved(version)
    assert world.nodes.loads == [("a", "solar-v1"), ("b", "solar-v1")]
    assert [type(fact) for fact in world.said] == [DeploymentStarted, DeploymentCompleted]


async def test_other_bytes_under_the_same_name_are_replaced() -> None:
    world = World("a")
    world.nodes.loaded["a"]["solar-v1"] = "of a stack that was wiped"
    version = world.version(1)
    await world.approved(version)
    assert world.nodes.loaded["a"]["solar-v1"] == version.model.file.sha256


async def test_overtaken_version_is_refused_and_leaves_the_nodes() -> None:
    world = World()
    for number in (1, 3):
        await world.approved(world.version(number))
    late = world.version(2)
    world.nodes.loaded["a"]["solar-v2"] = late.model.file.sha256
    assert await world.approved(late) == [
        DeploymentFailed(version=late, node="all", reason="overtaken by version 3, which serves")
    ]
    assert world.on_nodes == {"a": ["solar-v1", "solar-v3"], "b": ["solar-v1", "solar-v3"]}
    (failed,) = await world.approved(world.version(1), by="a person, once more")
    assert isinstance(failed, DeploymentFailed)
    assert "solar-v1" in world.on_nodes["a"]


async def test_half_done_rollout_that_was_given_up_is_cleaned_by_the_next() -> None:
    world = World()
    await world.approved(world.version(1))
    world.nodes.away.add("b")
    with pytest.raises(Retry):
        await world.approved(world.version(2))
    assert "solar-v2" in world.on_nodes["a"]
    world.nodes.away.clear()
    _, completed = await world.approved(world.version(3))
    assert isinstance(completed, DeploymentCompleted)
    assert completed.unloaded == (2,)
    assert world.on_nodes == {"a": ["solar-v1", "solar-v3"], "b": ["solar-v1", "solar-v3"]}


async def test_of_two_replicas_at_once_the_slower_one_tries_again() -> None:
    world = World("a")
    slow = world.version(1)
    put = world.routes.put

    async def overtaken(project: str, route: object, revision: int | None) -> None:
        world.routes.put = put  # type: ignore[method-assign]
        other = World("a")
        other.routes, other.artifacts, other.nodes = world.routes, world.artifacts, world.nodes
        await other.approved(world.version(2))
        await put(project, route, revision)  # type: ignore[arg-type]

    world.routes.put = overtaken  # type: ignore[method-assign,assignment]
    with pytest.raises(Retry, match="changed by another deployer"):
        await world.approved(slow)
    (failed,) = await world.approved(slow)
    assert isinstance(failed, DeploymentFailed)
    assert world.route == (2, None)
    assert world.on_nodes == {"a": ["solar-v2"]}


async def test_an_approval_that_was_answered_before_it_was_overtaken_has_no_second_outcome() -> None:
    world = World()
    for number in (1, 2, 3):
        await world.approved(world.version(number))
    said, route, on_nodes = world.said, world.route, world.on_nodes
    assert await world.approved(world.version(2)) == [], "said, killed before the ack, heard again"
    assert (world.said, world.route, world.on_nodes) == (said, route, on_nodes)


async def test_an_approval_that_has_failed_stays_so_and_a_new_one_tries_again() -> None:
    world = World()
    version = world.version(1)
    lost = world.artifacts.files.pop(version.model.file.uri)
    await world.approved(version)
    world.artifacts.files[version.model.file.uri] = lost
    assert await world.approved(version) == []
    assert (world.routes.kept, world.nodes.loads) == ({}, [])
    assert isinstance((await world.approved(version, by="a person"))[-1], DeploymentCompleted)


async def test_a_replica_that_stood_still_until_all_was_said_and_overtaken_says_nothing() -> None:
    world = World()
    await world.approved(world.version(1))
    get, looks = world.routes.get, iter(range(10))

    async def stands_still(project: str) -> Any:
        if next(looks) == 1:
            world.routes.get = get  # type: ignore[method-assign]
            other = World()
            other.routes, other.artifacts, other.nodes, other.bus = (
                world.routes,
                world.artifacts,
                world.nodes,
                world.bus,
            )
            for number in (2, 3):
                await other.approved(world.version(number))
        return await get(project)

    world.routes.get = stands_still  # type: ignore[method-assign]
    assert [type(fact) for fact in await world.approved(world.version(2))] == [DeploymentStarted]
    assert not any(isinstance(fact, DeploymentFailed) for fact in world.said)
    assert world.route == (3, 2)


async def test_killed_at_any_step_and_overtaken_then_an_approval_has_one_outcome() -> None:
    step, died = 0, True
    while died:
        world = World()
        await world.approved(world.version(1))
        world.steps.done, world.steps.dies_before = 0, step
        try:
            await world.approved(world.version(2))
            died = False
        except Crash:
            step += 1
        world.steps.dies_before = None
        await world.approved(world.version(3))
        await world.approved(world.version(2))
        ends = [fact for fact in world.said if isinstance(fact, DeploymentCompleted | DeploymentFailed)]
        assert sorted(fact.version.version for fact in ends) == [1, 2, 3], f"killed before step {step}"
        assert world.route[0] == 3
        assert world.on_nodes["a"] == world.on_nodes["b"] == [f"solar-v{n}" for n in sorted(world.route) if n]
    assert step > 10


async def test_version_of_another_project_is_a_dead_letter() -> None:
    world = World()
    with pytest.raises(Rejected, match="version of digits"):
        await world.approved(world.version(1, project="digits"))


async def test_killed_at_any_step_it_ends_in_the_same_state_and_says_the_same() -> None:
    async def two_rollouts() -> World:
        world = World()
        for number in (1, 2):
            await world.approved(world.version(number))
        world.steps.done = 0
        return world

    straight = await two_rollouts()
    await straight.approved(straight.version(3))
    steps = straight.steps.done
    assert steps > 10
    for step in range(steps):
        world = await two_rollouts()
        world.steps.dies_before = step
        with pytest.raises(Crash):
            await world.approved(world.version(3))
        world.steps.dies_before = None
        await world.approved(world.version(3))
        assert [_without_load_time(fact) for fact in world.said] == [_without_load_time(f) for f in straight.said]
        assert (world.route, world.on_nodes) == (straight.route, straight.on_nodes)
        assert len(world.nodes.loads) == len(straight.nodes.loads)


async def test_an_older_version_comes_back_where_it_is_approved_instead_of_the_one_that_serves() -> None:
    world = World()
    for number in (1, 2, 3):
        await world.approved(world.version(number))
    started, completed = await world.approved(world.version(1), by="ines", instead_of=3)
    assert isinstance(started, DeploymentStarted)
    assert isinstance(completed, DeploymentCompleted)
    assert (started.replaces, completed.replaces, completed.unloaded) == (3, 3, (2,))
    assert world.route == (1, 3)
    assert world.on_nodes == {"a": ["solar-v1", "solar-v3"], "b": ["solar-v1", "solar-v3"]}
    _, completed = await world.approved(world.version(4))
    assert isinstance(completed, DeploymentCompleted)
    assert world.on_nodes["a"] == ["solar-v1", "solar-v4"]


async def test_going_back_is_overtaken_by_what_came_meanwhile() -> None:
    world = World()
    for number in (1, 2, 3):
        await world.approved(world.version(number))
    (failed,) = await world.approved(world.version(1), by="ines", instead_of=2)
    assert isinstance(failed, DeploymentFailed)
    assert failed.reason == "overtaken by version 3, which serves"
    assert world.route == (3, 2)


async def test_unsigned_version_is_never_pushed_and_what_served_serves() -> None:
    world = World()
    await world.approved(world.version(1))
    unsigned = world.version(2).model_copy(update={"signature": None})
    _, failed = await world.approved(unsigned)
    assert isinstance(failed, DeploymentFailed)
    assert (failed.node, failed.reason) == (
        "all",
        "solar-v2 takes no traffic: version 2 of solar is not signed: approve one that the registry has registered, "
        "or train it again",
    )
    assert [name for _, name in world.nodes.loads] == ["solar-v1", "solar-v1"]
    assert world.route == (1, None)


async def test_version_with_another_file_than_the_one_that_was_signed_is_never_pushed() -> None:
    world = World()
    other = world.version(9).model
    _, failed = await world.approved(world.version(1).model_copy(update={"model": other}))
    assert isinstance(failed, DeploymentFailed)
    assert "its files are not those that were signed" in failed.reason
    assert world.nodes.loads == []


async def test_unsigned_version_is_not_brought_back_to_a_node_either() -> None:
    world = World("a")
    await world.approved(world.version(1))
    route, revision = world.routes.kept["solar"]
    unsigned = route.current.registered.model_copy(update={"signature": None})
    current = route.current.model_copy(update={"registered": unsigned})
    world.routes.kept["solar"] = (route.model_copy(update={"current": current}), revision)
    world.nodes.loaded["a"].clear()
    with pytest.raises(NotReconciled, match="solar-v1 cannot serve on a: version 1 of solar is not signed"):
        await world.reconciled()
    assert world.nodes.loaded["a"] == {}


def _without_load_time(fact: object) -> object:
    """What was loaded before the crash took no time after it; nothing of this run was said by then."""
    if isinstance(fact, DeploymentCompleted):
        return fact.model_copy(update={"checks": tuple(c.model_copy(update={"load_s": 0}) for c in fact.checks)})
    return fact
