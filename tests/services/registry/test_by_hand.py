"""What people do in MLflow by hand."""

from dataclasses import replace

import pytest

from contracts.events.model import ModelApprovalRequested, ModelRegistered
from contracts.events.training import TrainingCompleted, TrainingFailed
from services.registry.by_hand import NotLookedAt
from tests.said import card, versioned
from tests.services.registry.world import Versions, World, evaluation, model_version

FILES = {"model.pt": b"model", "golden.npz": b"golden"}


def world_with_a_version_by_hand(alias: str = "candidate", **versions: object) -> World:
    world = World(Versions(made=[("solar", "run-1", {})], held={alias: 1}, files=dict(FILES)))
    for name, value in versions.items():
        setattr(world.versions, name, value)
    world.defined()
    world.says(versioned(1))
    world.says(versioned(2))
    return world


async def test_a_version_with_an_alias_is_judged_once() -> None:
    world = world_with_a_version_by_hand(run_tags={"loopline.max_side": "64"})
    await world.looks()
    await world.looks()
    (trained,) = world.bus.all(TrainingCompleted)
    assert (trained.run_id, trained.dataset_number, trained.seconds) == ("run-1", 2, 12.5)
    assert (trained.plan.recipe, trained.plan.parameters) == ("by-hand", {"lr": "0.1"})
    assert (trained.model.classes, trained.model.max_side) == (("functional", "defective"), 64)
    assert world.versions.notes[1]["loopline.note"] == "it is judged before it may serve"


async def test_it_is_judged_on_the_dataset_that_its_run_names() -> None:
    world = world_with_a_version_by_hand(datasets=("d41d8cd9", f"{1:016x}"))
    await world.looks()
    assert [trained.dataset_number for trained in world.bus.all(TrainingCompleted)] == [1]


async def test_a_version_without_an_alias_is_left_alone() -> None:
    world = world_with_a_version_by_hand(held={})
    await world.looks()
    assert world.bus.all(TrainingCompleted) == []


async def test_what_is_missing_is_said_once_and_looked_for_again() -> None:
    world = world_with_a_version_by_hand(files={"golden.npz": b"golden"})
    await world.looks()
    await world.looks()
    (failed,) = world.bus.all(TrainingFailed)
    assert failed.reason == (
        "version 1 of solar, brought to MLflow by hand, cannot be judged: "
        "its run run-1 has no artifact model.pt (TorchScript): log it there"
    )
    assert world.versions.notes[1]["loopline.note"] == failed.reason
    world.versions.files = dict(FILES)
    await world.looks()
    assert len(world.bus.all(TrainingCompleted)) == 1


async def test_what_the_evaluator_says_against_it_stands_at_the_version() -> None:
    world = world_with_a_version_by_hand()
    await world.looks()
    assert await world.judged(evaluation("failed")) == []
    assert world.versions.notes[1]["loopline.note"].startswith("failed: ")
    assert await world.could_not_be_judged("run-1", "it is no TorchScript file") == []
    assert world.versions.notes[1]["loopline.note"] == "could not be judged: it is no TorchScript file"


async def test_an_id_that_no_run_can_have_is_asked_of_nobody() -> None:
    world = world_with_a_version_by_hand(made=[("solar", "x' or run_id = 'y", {})])
    assert await world.could_not_be_judged("x' or run_id = 'y", "it is no TorchScript file") == []
    assert world.versions.notes == {}


async def test_its_long_parameters_are_cut_and_its_revision_is_told() -> None:
    world = world_with_a_version_by_hand(parameters={"layers": "64," * 1000})
    await world.looks()
    (trained,) = world.bus.all(TrainingCompleted)
    assert len(trained.plan.parameters["layers"]) == 500
    assert trained.code_revision == "9c1e7f2"


async def test_no_run_no_such_run_and_no_dataset_each_have_a_sentence() -> None:
    for change, sentence in (
        ({"made": [("solar", "", {})]}, "it has no run: register it from a run that has the artifact model.pt"),
        (
            {"files": {}},
            "has no artifact model.pt (TorchScript) and no golden.npz (images and the model's answers to them: "
            "loopline.golden makes it)",
        ),
        ({"runs": set()}, "MLflow has no run run-1: register it from a run that is there"),
    ):
        world = world_with_a_version_by_hand(**change)
        await world.looks()
        assert sentence in world.bus.all(TrainingFailed)[0].reason
    world = World(Versions(made=[("solar", "run-1", {})], held={"candidate": 1}, files=dict(FILES)))
    world.defined()
    await world.looks()
    assert "no dataset version to test it on" in world.bus.all(TrainingFailed)[0].reason


async def test_champion_that_is_moved_by_hand_goes_back_and_the_version_is_judged() -> None:
    world = world_with_a_version_by_hand(alias="champion")
    await world.looks()
    assert world.versions.held == {}, "nothing serves"
    assert len(world.bus.all(TrainingCompleted)) == 1

    await world.served(2)
    world.versions.held["champion"] = 1
    await world.looks()
    assert world.versions.held == {"champion": 2}


async def test_champion_on_a_registered_version_asks_a_person() -> None:
    world = World()
    world.defined()
    world.says(ModelRegistered(version=model_version(1)))
    await world.judged(evaluation(), id="judged-1")
    await world.served(2)
    world.versions.held["champion"] = 1
    await world.looks()
    world.versions.held["champion"] = 1
    await world.looks()
    (asked,) = world.bus.all(ModelApprovalRequested)
    assert asked.version.version == 1
    assert asked.why == (
        "somebody gave it the alias champion in MLflow while version 2 serves; an alias is no approval"
    )
    assert world.versions.held["champion"] == 2


async def test_champion_that_was_deleted_by_hand_comes_back() -> None:
    world = World()
    world.defined()
    await world.served(1, 2)
    del world.versions.held["champion"]
    await world.looks()
    assert world.versions.held == {"champion": 2, "previous": 1}


async def test_a_promotion_under_way_is_not_disturbed() -> None:
    world = World()
    world.defined()
    await world.served(1)
    world.deployed(2, 1)
    before = replace(world.versions).held.copy()
    await world.looks()
    assert world.versions.held == before
    world.versions.held["champion"] = 2
    await world.looks()
    assert world.versions.held["champion"] == 2


async def test_models_of_others_are_left_alone() -> None:
    world = World(Versions(held={"champion": 7}))
    await world.looks()
    assert world.bus.facts == []
    assert world.versions.held == {"champion": 7}


async def test_trouble_with_one_project_does_not_keep_the_others_waiting() -> None:
    world = World()
    world.defined()
    await world.served(1)
    world.versions.held["champion"] = 7
    deployed, envelope = world.deployed(5, None)
    for event in (deployed, card(project="broken")):
        world.bus.facts.append((event, replace(envelope, project="broken", id=event.name())))
    world.bus.facts.remove((deployed, envelope))
    world.versions.gone = {5}
    with pytest.raises(NotLookedAt, match="broken: MLflow has no version 5 of broken"):
        await world.looks()
    assert world.versions.held["champion"] == 1
