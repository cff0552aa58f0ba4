"""models and lineage: which versions there are, a person's word about one, and where one comes from."""

import asyncio
from pathlib import Path

import pytest

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.deployment import DeploymentCompleted, DeploymentFailed, NodeCheck
from contracts.events.model import (
    ModelApprovalRequested,
    ModelApproved,
    ModelDemoted,
    ModelRegistered,
    ModelRejected,
    ModelVersion,
)
from contracts.events.training import TrainingCompleted
from services.cli.telling import sentence_of
from tests.manifests import manifest_of
from tests.said import answered, versioned
from tests.services.cli.world import FakeClient, defined, refused, run
from tests.services.registry.world import MODEL, blob, evaluation, model_version
from tests.signing import signed


def version(number: int) -> ModelVersion:
    return signed(model_version(number))


def say(client: FakeClient, *events: Event) -> list[Envelope]:
    return [asyncio.run(client.say(event, project="solar")) for event in events]


def checks(*nodes: str) -> tuple[NodeCheck, ...]:
    return tuple(NodeCheck(node=node, load_s=1, golden_images=1, largest_difference=0) for node in nodes)


def served(client: FakeClient, *numbers: int) -> None:
    """Registered, approved by the gates and deployed to two nodes, one after the other."""
    for place, number in enumerate(numbers):
        say(
            client,
            ModelRegistered(version=version(number)),
            ModelApproved(version=version(number), approved_by="gates", why="all 3 gates passed"),
            DeploymentCompleted(
                version=version(number), checks=checks("a", "b"), unloaded=numbers[: max(0, place - 1)]
            ),
        )


def states(client: FakeClient) -> dict[int, str]:
    return {row["version"]: row["state"] for row in run(client, "models", "--json").json}


@pytest.fixture
def client(tmp_path: Path) -> FakeClient:
    return defined(tmp_path)


def test_each_version_is_in_the_state_of_the_last_word_about_it(client: FakeClient) -> None:
    served(client, 1, 2)
    say(client, *(ModelRegistered(version=version(number)) for number in (3, 4, 5, 6)))
    say(client, ModelApprovalRequested(version=version(3), why="the card leaves the last word to a person"))
    say(client, ModelRejected(version=version(4), rejected_by="ines", why="dust"))
    say(client, ModelApproved(version=version(5), approved_by="gates", why="all passed"))
    say(client, DeploymentFailed(version=version(5), node="a", reason="golden image 2 differs"))
    assert states(client) == {
        6: "registered",
        5: "failed",
        4: "rejected",
        3: "waits for approval",
        2: "serves",
        1: "served",
    }
    shown = run(client, "models")
    assert "ines: dust" in shown.out
    assert "golden image 2 differs" in shown.out
    assert "loopline models approve VERSION" in shown.err
    say(client, ModelDemoted(version=version(2), demoted_by="ines", why="false alarms"))
    assert states(client)[2] == "serves, demoted"


def test_approval_is_said_with_the_version_as_it_was_registered(client: FakeClient) -> None:
    served(client, 1)
    say(client, ModelRegistered(version=version(2)))
    outcome = run(client, "models", "approve", "2", "--why", "looked at it", "--by", "ines")
    assert outcome.code == 0
    assert client.all(ModelApproved)[-1] == ModelApproved(version=version(2), approved_by="ines", why="looked at it")
    assert "version 2 of solar is approved" in outcome.out
    assert "approved already by ines" in refused(run(client, "models", "approve", "2", "--why", "again"))


def test_an_older_version_is_approved_instead_of_the_one_that_serves(client: FakeClient) -> None:
    served(client, 1, 2)
    assert run(client, "models", "--project", "solar", "approve", "1", "--why", "back").code == 0
    assert client.all(ModelApproved)[-1].instead_of == 2
    assert sentence_of(client.all(ModelApproved)[-1]).startswith("version 1, instead of version 2, by ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("approve", "9", "--why", "x"), "solar has no registered version 9 (registered: 3, 2, 1)"),
        (("approve", "2", "--why", "x"), "version 2 serves already"),
        (("reject", "2", "--why", "x"), "version 2 serves: loopline models demote 2"),
        (("demote", "1", "--why", "x"), "version 1 does not serve, version 2 does: loopline models reject 1"),
        (("approve", "1", "--why", "x", "--by", "gates"), "gates are no person: --by says who it is"),
        (("approve", "3", "--why", "x"), "version 3 was never signed, and no node takes it: train it again"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_said(client: FakeClient, words: tuple[str, ...], told: str) -> None:
    served(client, 1, 2)
    say(client, ModelRegistered(version=model_version(3)))
    before = len(client.said)
    assert told in refused(run(client, "models", *words))
    assert len(client.said) == before


def test_a_person_rejects_and_changes_the_mind(client: FakeClient) -> None:
    served(client, 1)
    say(client, ModelRegistered(version=version(2)))
    assert run(client, "models", "reject", "2", "--why", "dust", "--by", "ines").code == 0
    assert client.all(ModelRejected) == [ModelRejected(version=version(2), rejected_by="ines", why="dust")]
    assert "version 2 is rejected already: ines: dust" in refused(run(client, "models", "reject", "2", "--why", "x"))
    assert run(client, "models", "approve", "2", "--why", "it was the lens").code == 0


def test_demoting_needs_a_version_to_put_back(client: FakeClient) -> None:
    served(client, 1)
    assert "no version to put back for version 1" in refused(run(client, "models", "demote", "1", "--why", "x"))
    served(client, 2)
    outcome = run(client, "models", "demote", "2", "--why", "false alarms", "--by", "ines", "--json")
    assert (outcome.code, outcome.json["version"]) == (0, 2)
    say(
        client,
        ModelApproved(version=version(1), approved_by="ines", why="put back", instead_of=2),
        DeploymentCompleted(version=version(1), checks=()),
    )
    assert states(client) == {2: "demoted", 1: "serves"}
    assert "no version to put back" in refused(run(client, "models", "demote", "1", "--why", "x"))


def test_where_shows_which_node_has_what(client: FakeClient) -> None:
    assert "nothing of solar was rolled out" in run(client, "models", "--where").out
    served(client, 1, 2, 3)
    assert run(client, "models", "--where", "--json").json == [
        {"node": "a", "serves": 3, "keeps": [2]},
        {"node": "b", "serves": 3, "keeps": [2]},
    ]
    say(client, DeploymentCompleted(version=version(4), checks=checks("b"), unloaded=(2,)))
    assert run(client, "models", "--where", "--json").json == [{"node": "b", "serves": 4, "keeps": [3]}]
    assert "--where goes with the list alone" in refused(run(client, "models", "--where", "reject", "1", "--why", "x"))


def with_lineage(client: FakeClient) -> None:
    """A prediction of version 1 and all that it stands on."""
    rows: list[dict[str, object]] = [
        {"sha256": f"{place}" * 64, "label": label, "split": split, "annotator": by}
        for place, (label, split, by) in enumerate(
            [("defective", "train", "ines"), ("functional", "train", "ines"), ("defective", "test", "omar")]
        )
    ]
    dataset = versioned(1).model_copy(update={"dataset_id": "0" * 16, "manifest": manifest_of(client.blobs, rows)})
    trained = TrainingCompleted(
        plan=evaluation().plan, dataset_number=1, manifest=blob("c"), run_id="run-1", model=MODEL, metrics={}, seconds=9
    )
    _, _, judged = say(client, dataset, trained, evaluation())
    mine = model_version(1).model_copy(
        update={
            "evaluation_id": judged.id,
            "plan": evaluation().plan,
            "code_revision": "9c1e7f2",
            "parent_version": 6,
        }
    )
    say(
        client,
        ModelRegistered(version=signed(mine)),
        ModelApproved(version=signed(mine), approved_by="omar", why="looked at it"),
        DeploymentCompleted(version=signed(mine), checks=checks("a")),
        answered("p-1"),
    )


def test_lineage_goes_from_a_prediction_back_to_the_labels_and_their_annotators(client: FakeClient) -> None:
    with_lineage(client)
    shown = run(client, "lineage", "p-1")
    assert shown.code == 0, shown.err
    lines = [line.strip("│├└─ ") for line in shown.out.splitlines()]
    assert lines[0].startswith("prediction p-1: defective, 90% sure, on node local")
    assert lines[1] == "version 1 of solar: serves; omar: looked at it"
    assert lines[2].startswith(f"model {'a' * 64}, signed by the key ")
    assert lines[3].endswith("beside version 6: It is good.")
    assert lines[4] == "run run-1: frozen-features, seed 0, 9.0 s, code 9c1e7f2"
    assert lines[5].startswith("dataset 1 (0000000000000000), manifest ")
    assert lines[6:] == ["2 labels by ines: 1 defective, 1 functional", "1 labels by omar: 1 defective"]
    assert "image 222222222222 is defective, says omar (test)" in run(client, "lineage", "1", "--labels").out
    found = run(client, "lineage", "1", "--json").json
    assert found["prediction"] is None
    assert [row["annotator"] for row in found["labels"]] == ["ines", "ines", "omar"]


def test_lineage_tells_what_is_not_known(client: FakeClient) -> None:
    assert "there is no prediction p-9" in refused(run(client, "lineage", "p-9"))
    assert "no registered version 9 (registered: none yet)" in refused(run(client, "lineage", "9"))
    say(client, ModelRegistered(version=model_version(1)))
    shown = run(client, "lineage", "1").out
    assert "not signed" in shown
    assert "its labels cannot be shown: its dataset version was never said" in shown
