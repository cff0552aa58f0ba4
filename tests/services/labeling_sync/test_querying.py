from collections.abc import Sequence

import pytest

from contracts.events.image import ImageAdded
from contracts.events.prediction import PredictionCompleted, Timings
from services.labeling_sync.cards import Cards
from services.labeling_sync.handlers import on_image_added
from services.labeling_sync.querying import Query
from tests.services.labeling_sync.world import PROJECT, World, heard, image, solar


def prediction(number: int, confidence: float) -> PredictionCompleted:
    return PredictionCompleted(
        prediction_id=f"p{number}",
        image=image(number),
        label="bad",
        confidence=confidence,
        classes=("good", "bad"),
        probabilities=(1 - confidence, confidence),
        model_name="solar-v3",
        model_version=3,
        node="local",
        timings=Timings(waited_ms=1, decode_ms=1, infer_ms=1, total_ms=3),
        metadata={"line": 7},
    )


async def predicted(world: World, answers: Sequence[tuple[int, float]]) -> None:
    for number, confidence in answers:
        await world.bus.say(prediction(number, confidence), project=PROJECT)


async def world_with_project(**query: float) -> World:
    world = solar(query={"random_share": 0, **query})
    event = ImageAdded(image=image(100))
    await on_image_added(event, heard(event), ports=world.ports)
    return world


def asked(world: World) -> list[int]:
    return [int(event.image.sha256[::-1], 16) for event in world.bus.of(ImageAdded)]


async def test_each_full_window_gives_its_least_certain_images() -> None:
    world = await world_with_project(every=3, uncertain=1)
    query = Query(Cards(world.bus), world.ports)
    await predicted(world, [(1, 0.9), (2, 0.6)])
    await query.look()
    assert asked(world) == []
    await predicted(world, [(3, 0.8), (4, 0.7), (5, 0.95), (6, 0.9), (7, 0.51)])
    await query.look()
    await query.look()
    assert asked(world) == [2, 4]
    added = world.bus.of(ImageAdded)[0]
    assert added.chosen == "uncertain"
    assert added.metadata == {
        "line": 7, "predicted": "bad", "confidence": 0.6, "model_version": "solar-v3", "prediction_id": "p2",
    }  # fmt: skip


async def test_quiet_closes_a_window_and_images_with_tasks_are_left_out() -> None:
    world = await world_with_project(every=50, quiet_s=30, uncertain=2)
    query = Query(Cards(world.bus), world.ports)
    await predicted(world, [(100, 0.5), (1, 0.6), (2, 0.7), (3, 0.8)])
    await query.look()
    assert asked(world) == []
    world.pass_time(30)
    await query.look()
    assert asked(world) == [1, 2]


async def test_a_day_has_a_budget() -> None:
    world = await world_with_project(every=4, uncertain=4, per_day=5)
    query = Query(Cards(world.bus), world.ports)
    await predicted(world, [(number, 0.6) for number in range(1, 13)])
    await query.look()
    assert len(asked(world)) == 5
    world.pass_time(86_400)
    await predicted(world, [(number, 0.6) for number in range(20, 24)])
    await query.look()
    assert len(asked(world)) == 9


async def test_a_crash_while_the_choice_is_said_ends_in_the_same_choice() -> None:
    world = await world_with_project(every=4, uncertain=2)
    await predicted(world, [(1, 0.9), (2, 0.6), (3, 0.7), (4, 0.8)])
    say = world.bus.say

    async def crash_at_the_second(event, **fields):  # type: ignore[no-untyped-def]
        if asked(world):
            raise ConnectionError
        envelope = await say(event, **fields)
        await on_image_added(event, heard(event, 50), ports=world.ports)
        return envelope

    world.bus.say = crash_at_the_second  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await Query(Cards(world.bus), world.ports).look()
    world.bus.say = say  # type: ignore[method-assign]
    await Query(Cards(world.bus), world.ports).look()
    assert asked(world) == [2, 2, 3]
    ids = [envelope.id for event, envelope in world.bus.said if isinstance(event, ImageAdded)]
    assert len(set(ids)) == 2
