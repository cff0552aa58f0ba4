import json

import pytest

from contracts.envelope import derive_id
from contracts.events.model import ModelApprovalRequested, ModelApproved, ModelPromoted, ModelRegistered
from services.chassis.errors import Busy, Rejected
from tests.services.registry.world import MODEL, Crash, Versions, World, evaluation, model_version
from tests.signing import trusted


async def test_passed_candidate_is_registered_with_its_lineage_and_approved() -> None:
    world = World()
    registered, approved = await world.judged(evaluation())
    assert isinstance(registered, ModelRegistered)
    assert isinstance(approved, ModelApproved)
    version = registered.version
    assert version == approved.version
    assert (version.version, version.model) == (1, MODEL)
    assert (version.manifest_sha256, version.parent_version, version.code_revision) == ("c" * 64, 6, "9c1e7f2")
    assert (version.plan, version.evaluation_id) == (evaluation().plan, derive_id("judged-1"))
    trusted().check(version)
    assert version.signature
    assert (approved.approved_by, approved.why) == ("gates", "all 3 gates passed")
    project, run, tags = world.versions.made[0]
    assert (project, run) == ("solar", "run-1")
    assert tags == {
        "loopline.run": "run-1",
        "loopline.dataset": "0" * 16,
        "loopline.dataset_number": "1",
        "loopline.manifest_sha256": "c" * 64,
        "loopline.parent": "6",
        "loopline.recipe": "frozen-features",
        "loopline.plan": '{"dataset_id":"0000000000000000","recipe":"frozen-features","parameters":{},"seed":0}',
        "loopline.code_revision": "9c1e7f2",
        "loopline.golden_sha256": "b" * 64,
        "loopline.correlation": derive_id("judged-1"),
        "loopline.evaluation": derive_id("judged-1"),
        "loopline.model_sha256": "a" * 64,
        "loopline.signature": json.dumps({"keyid": version.signature.key_id, "sig": version.signature.signature}),
    }


@pytest.mark.parametrize("verdict", ["failed", "cannot-be-judged"])
async def test_other_verdicts_change_nothing(verdict: str) -> None:
    world = World()
    assert await world.judged(evaluation(verdict)) == []
    assert (world.versions.made, world.claims.held) == ([], {})


async def test_redelivered_verdict_says_the_same_and_registers_once() -> None:
    world = World()
    first = await world.judged(evaluation())
    assert await world.judged(evaluation()) == first
    assert await world.judged(evaluation(), owner="LOOP:9") == first
    assert len(world.versions.made) == 1


@pytest.mark.parametrize("killed_after", ["create", "tag"])
async def test_killed_between_create_and_claim_registers_once(killed_after: str) -> None:
    world = World(Versions(dies_after=killed_after))
    with pytest.raises(Crash):
        await world.judged(evaluation())
    with pytest.raises(Busy):
        await world.judged(evaluation(), owner="LOOP:9")
    registered, approved = await world.judged(evaluation())
    assert isinstance(registered, ModelRegistered)
    assert isinstance(approved, ModelApproved)
    assert (registered.version.version, len(world.versions.made)) == (1, 1)


async def test_run_judged_again_is_approved_again_under_its_version() -> None:
    world = World()
    await world.judged(evaluation())
    (approved,) = await world.judged(evaluation(), owner="LOOP:2", id="judged-2")
    assert isinstance(approved, ModelApproved)
    assert (approved.version.version, len(world.versions.made)) == (1, 1)


async def test_candidate_from_an_older_dataset_is_registered_but_not_approved() -> None:
    world = World()
    await world.judged(evaluation(dataset_number=2))
    (only,) = await world.judged(evaluation(run_id="run-2", dataset_number=1), owner="LOOP:2", id="judged-2")
    assert isinstance(only, ModelRegistered)


async def test_verdict_on_a_run_that_mlflow_does_not_know_is_rejected_and_frees_the_claim() -> None:
    world = World()
    with pytest.raises(Rejected, match="no run elsewhere"):
        await world.judged(evaluation(run_id="elsewhere"))
    assert world.claims.held == {}
    with pytest.raises(Rejected, match="not the id"):
        await world.judged(evaluation(run_id="a' or name != '"))


async def test_deployments_move_champion_and_previous() -> None:
    world = World()
    assert await world.hears(world.deployed(1, None)) == [
        ModelPromoted(version=model_version(1), previous_version=None)
    ]
    assert world.versions.held == {"champion": 1}
    assert await world.hears(world.deployed(2, 1)) == [ModelPromoted(version=model_version(2), previous_version=1)]
    assert world.versions.held == {"champion": 2, "previous": 1}


async def test_back_to_an_older_version_is_a_promotion_like_any_other() -> None:
    world = World()
    await world.hears(world.deployed(1, None))
    await world.hears(world.deployed(2, 1))
    assert await world.hears(world.deployed(1, 2)) == [ModelPromoted(version=model_version(1), previous_version=2)]
    assert world.versions.held == {"champion": 1, "previous": 2}


@pytest.mark.parametrize("killed_after", ["previous", "champion"])
@pytest.mark.parametrize("replaces", [1, None])
async def test_killed_between_the_aliases_ends_in_the_same_state(killed_after: str, replaces: int | None) -> None:
    world = World()
    await world.hears(world.deployed(1, None))
    second = world.deployed(2, replaces)
    world.versions.dies_after = killed_after
    with pytest.raises(Crash):
        await world.hears(second)
    assert await world.hears(second) == [ModelPromoted(version=model_version(2), previous_version=1)]
    assert world.versions.held == {"champion": 2, "previous": 1}


async def test_late_deployment_does_not_move_the_aliases_back() -> None:
    world = World()
    first, second = world.deployed(1, None), world.deployed(2, 1)
    assert await world.hears(second) == [ModelPromoted(version=model_version(2), previous_version=1)]
    assert await world.hears(first) == []
    assert world.versions.held == {"champion": 2, "previous": 1}


async def test_deployment_stored_a_second_time_after_a_newer_one_does_not_move_the_aliases_back() -> None:
    world = World()
    first = world.deployed(1, None)
    await world.hears(first)
    await world.hears(world.deployed(2, 1))
    world.bus.facts.append(first)
    assert await world.hears(first, owner="LOOP:99") == []
    assert world.versions.held == {"champion": 2, "previous": 1}


async def test_promotion_that_was_never_said_is_said_when_its_dead_letter_is_tried_again() -> None:
    world = World()
    await world.hears(world.deployed(1, None))
    second = world.deployed(2, 1)
    await world.hears(second, say=False)
    assert await world.hears(second, owner="DEAD:1") == [ModelPromoted(version=model_version(2), previous_version=1)]


async def test_newer_deployment_heard_by_another_replica_meanwhile_wins() -> None:
    world = World()
    await world.hears(world.deployed(1, None))
    slow = world.deployed(2, 1)

    class WhileMoving(Versions):
        async def set_alias(self, project: str, alias: str, version: int) -> None:
            if alias == "champion" and version == 2:
                world.deployed(3, 2)
                self.held |= {"champion": 3, "previous": 2}
            await super().set_alias(project, alias, version)

    world.versions = WhileMoving(held=world.versions.held)
    assert await world.hears(slow) == []
    assert world.versions.held == {"champion": 3, "previous": 2}


async def test_deleted_previous_version_does_not_stop_a_promotion() -> None:
    world = World()
    await world.hears(world.deployed(1, None))
    world.versions.gone = {1}
    assert await world.hears(world.deployed(2, 1)) == [ModelPromoted(version=model_version(2), previous_version=None)]
    world.versions.gone = {3}
    with pytest.raises(Rejected, match="no version 3 of solar, but it serves"):
        await world.hears(world.deployed(3, 2))


async def test_card_that_leaves_the_last_word_to_a_person_asks_for_it() -> None:
    world = World()
    world.defined(approval="person")
    registered, asked = await world.judged(evaluation())
    assert isinstance(registered, ModelRegistered)
    assert isinstance(asked, ModelApprovalRequested)
    assert asked.why == "all 3 gates passed, and the card leaves the last word to a person"
    world.defined(approval="gates")
    assert await world.judged(evaluation()) == [registered, asked], "delivered again, under another card"
    (approved,) = await world.judged(evaluation(), owner="LOOP:2", id="judged-2")
    assert isinstance(approved, ModelApproved)


async def test_who_let_a_version_serve_is_written_down_in_mlflow() -> None:
    world = World()
    await world.judged(evaluation())
    _, approval = world.approved(1)
    await world.hears(world.deployed(1, None, approval))
    assert world.versions.notes[1]["loopline.approved_by"] == "ines"
    assert world.versions.notes[1]["loopline.approved_why"] == "looked at it"


async def test_demoted_version_gives_way_to_the_one_that_served_before_it() -> None:
    world = World()
    await world.served(1, 2, 3)
    (approved,) = await world.demoted(3)
    assert approved == ModelApproved(
        version=model_version(2), approved_by="ines", why="put back for version 3: false alarms", instead_of=3
    )
    assert world.versions.notes[3] == {"loopline.demoted_by": "ines", "loopline.demoted_why": "false alarms"}
    assert world.versions.held == {"champion": 3, "previous": 2}, "it serves until the other one does"
    assert await world.hears(world.deployed(2, 3)) == [ModelPromoted(version=model_version(2), previous_version=1)]
    assert world.versions.held == {"champion": 2, "previous": 1}


async def test_what_was_demoted_is_never_put_back() -> None:
    world = World()
    await world.served(1, 2)
    await world.demoted(2)
    await world.hears(world.deployed(1, 2))
    assert world.versions.held == {"champion": 1}, "there is no way back any more"
    with pytest.raises(Rejected, match="no version to put back for version 1 of solar, which serves on"):
        await world.demoted(1)


async def test_demoting_what_does_not_serve_puts_nothing_back() -> None:
    world = World()
    await world.served(1, 2, 3)
    assert await world.demoted(2) == []
    assert world.versions.held == {"champion": 3, "previous": 1}


async def test_rejected_version_is_no_way_back() -> None:
    world = World()
    await world.served(1, 2, 3)
    assert await world.rejected(2) == []
    assert world.versions.held == {"champion": 3, "previous": 1}
    (approved,) = await world.demoted(3)
    assert isinstance(approved, ModelApproved)
    assert approved.version.version == 1


async def test_gates_do_not_bring_back_what_a_person_took_back_but_a_person_does() -> None:
    world = World()
    await world.judged(evaluation())
    await world.rejected(1)
    (asked,) = await world.judged(evaluation(), owner="LOOP:2", id="judged-2")
    assert isinstance(asked, ModelApprovalRequested)
    assert "a person took version 1 back before" in asked.why
    world.approved(1)
    (approved,) = await world.judged(evaluation(), owner="LOOP:3", id="judged-3")
    assert isinstance(approved, ModelApproved)


async def test_no_about_a_deleted_version_is_no_error() -> None:
    world = World()
    await world.served(1, 2)
    world.versions.gone = {1}
    assert await world.rejected(1) == []
    assert world.versions.held == {"champion": 2}


async def test_a_run_that_somebody_registered_by_hand_keeps_its_version() -> None:
    world = World()
    world.versions.made.append(("solar", "run-1", {}))
    registered, approved = await world.judged(evaluation())
    assert isinstance(registered, ModelRegistered)
    assert isinstance(approved, ModelApproved)
    assert (registered.version.version, len(world.versions.made)) == (1, 1)
    assert world.versions.made[0][2]["loopline.evaluation"] == derive_id("judged-1")


async def test_a_version_brought_by_hand_that_failed_is_told_why_there() -> None:
    world = World()
    world.versions.made.append(("solar", "run-1", {}))
    assert await world.judged(evaluation("failed")) == []
    assert world.versions.notes[1] == {"loopline.note": "failed: It is good."}
