import asyncio

import numpy as np
import pytest

from services.deployer.reconciling import NotReconciled
from tests.services.deployer.world import World


async def served(*nodes: str) -> World:
    world = World(*nodes)
    for number in (1, 2):
        await world.approved(world.version(number))
    world.nodes.loads.clear()
    return world


async def test_node_that_started_anew_gets_current_and_previous_again() -> None:
    world = await served()
    world.nodes.loaded["b"].clear()
    await world.reconciled()
    assert world.nodes.loads == [("b", "solar-v2"), ("b", "solar-v1")]
    await world.reconciled()
    assert len(world.nodes.loads) == 2


async def test_node_that_is_away_holds_up_no_other() -> None:
    world = await served()
    world.nodes.loaded = {"a": {}, "b": {}}
    world.nodes.away.add("a")
    with pytest.raises(NotReconciled, match="a does not answer"):
        await world.reconciled()
    assert world.on_nodes == {"a": [], "b": ["solar-v1", "solar-v2"]}
    assert world.nodes.calls_in_vain == 1, "each may take as long as the time-out"


async def test_new_node_takes_traffic_once_it_has_both_versions() -> None:
    world = await served("a")
    world.nodes.loaded["b"] = {}
    world.nodes.answers["b/solar-v2"] = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(NotReconciled, match="solar-v2 cannot serve on b: golden image 1"):
        await world.reconciled()
    assert world.routes.kept["solar"][0].nodes == ("a",)
    assert world.on_nodes["b"] == ["solar-v1"]
    world.nodes.answers.clear()
    await world.reconciled()
    assert world.routes.kept["solar"][0].nodes == ("a", "b")
    assert world.route == (2, 1)


async def test_project_whose_rollout_is_in_progress_is_left_alone() -> None:
    world = await served()
    world.nodes.loaded["a"].clear()
    async with world.turns.of("solar"):
        await asyncio.wait_for(world.reconciled(), 1)
        assert world.nodes.loads == []
    await world.reconciled()
    assert len(world.nodes.loads) == 2


async def test_version_replaced_by_another_replica_meanwhile_does_not_stay() -> None:
    world = await served("a")
    world.nodes.loaded["a"].clear()
    load = world.nodes.load

    async def rolled_out_meanwhile(node: str, config: dict[str, object], file: bytes) -> float:
        if config["name"] == "solar-v1":
            world.nodes.load = load  # type: ignore[method-assign]
            other = World("a")
            other.routes, other.artifacts, other.nodes = world.routes, world.artifacts, world.nodes
            await other.approved(world.version(3))
        return await load(node, config, file)

    world.nodes.load = rolled_out_meanwhile  # type: ignore[method-assign,assignment]
    await world.reconciled()
    assert world.on_nodes == {"a": ["solar-v2", "solar-v3"]}
