"""publish, train, watch: saying events and hearing them."""

import json
from pathlib import Path

import pytest

from contracts.events import EVENTS
from contracts.events.dataset import DatasetRequested
from contracts.events.evaluation import GateResult
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingRequested
from services.cli.errors import BadInput
from services.cli.telling import TELLERS, sentence_of
from services.cli.watching import ago
from tests.services.cli.world import FakeClient, refused, run, with_dataset
from tests.services.registry.world import evaluation


@pytest.mark.parametrize("name", ["training.requested", "loopline.training.requested.v1"])
def test_publish_says_an_event_by_its_short_or_whole_name(tmp_path: Path, name: str) -> None:
    client = FakeClient(tmp_path)
    outcome = run(client, "publish", name, "--project", "solar", "--data", '{"seed": 7}', "--json")
    assert outcome.json["subject"] == "loopline.solar.training.requested"
    assert client.all(TrainingRequested) == [TrainingRequested(seed=7)]


def test_publish_reads_a_file_and_standard_input(tmp_path: Path) -> None:
    client = FakeClient(tmp_path)
    (tmp_path / "event.json").write_text('{"why": "from a file"}')
    words = ("publish", "dataset.requested", "--project", "solar", "--data")
    assert run(client, *words, f"@{tmp_path / 'event.json'}").code == 0
    assert run(client, *words, "-", stdin='{"why": "from a pipe"}').code == 0
    assert [event.why for event in client.all(DatasetRequested)] == ["from a file", "from a pipe"]


@pytest.mark.parametrize(
    ("type_", "data", "complaint"),
    [
        ("training.requested", '{"sead": 7}', "sead: there is no such field"),
        ("training.requested", '{"seed": -1}', "seed: Input should be greater than or equal to 0"),
        ("training.requested", "{", "Invalid JSON"),
        ("training.requested", "@/no/such/file", "cannot read /no/such/file"),
        ("training.request", "{}", "like it: training.requested"),
        ("loopline.training.requested.v9", "{}", "there is no event"),
        ("feedback.given", "{}", "prediction_id: Field required"),
    ],
)
def test_what_does_not_fit_the_schema_is_not_said(tmp_path: Path, type_: str, data: str, complaint: str) -> None:
    client = FakeClient(tmp_path)
    assert complaint in refused(run(client, "publish", type_, "--project", "solar", "--data", data))
    assert client.said == []


def test_published_card_is_about_its_own_project(tmp_path: Path) -> None:
    client = FakeClient(tmp_path)
    card = json.dumps({"card": {"project": "solar", "data": {"classes": ["a", "b"]}}})
    assert "not of lunar" in refused(run(client, "publish", "project.defined", "-p", "lunar", "--data", card))
    assert run(client, "publish", "project.defined", "--data", card).code == 0
    assert client.said[0][1].project == "solar"
    assert "--project NAME" in refused(run(client, "publish", "dataset.requested"))


def test_watch_tells_a_line_an_event(tmp_path: Path) -> None:
    client = with_dataset(tmp_path)
    lines = run(client, "watch").out.splitlines()
    assert ["project.defined" in lines[0], "dataset.versioned" in lines[1]] == [True, True]
    assert "dataset 1 (" in lines[1]
    only = run(client, "watch", "--type", "project.defined", "--project", "solar", "--json").out.splitlines()
    (event,) = [json.loads(line) for line in only]
    assert ProjectDefined.model_validate(event["data"]) == client.all(ProjectDefined)[0]
    assert event["type"] == "loopline.project.defined.v1"
    assert len(run(client, "watch", "--count", "1").out.splitlines()) == 1
    assert "no event" in refused(run(client, "watch", "--type", "nope"))


def test_since_is_a_number_and_a_unit() -> None:
    assert [ago(text).total_seconds() for text in ("90s", "10m", "2h", "1d")] == [90, 600, 7200, 86_400]
    for text in ("10", "m", "-1m", "1w"):
        with pytest.raises(BadInput, match="--since"):
            ago(text)


def test_every_event_of_the_contracts_can_be_told() -> None:
    assert {model for model in EVENTS.values() if model.__module__.startswith("contracts.")} == set(TELLERS)


def test_a_verdict_is_told_with_the_gates_that_broke_it() -> None:
    refused = evaluation("failed").model_copy(
        update={"sentence": "One gate failed.", "gates": (GateResult(gate="g", passed=False, sentence="Too\nlow."),)}
    )
    assert sentence_of(refused) == "One gate failed. Too low. Accuracy 80.0% on 100 images."


def test_a_verdict_tells_what_is_missed_also_when_all_gates_are_passed() -> None:
    gates = tuple(
        GateResult(gate=gate, passed=True, sentence=f"About {gate}.")
        for gate in ("test set", "misses: defective", "slices: accuracy", "calibration", "size")
    )
    accepted = evaluation("passed").model_copy(update={"sentence": "All 5 gates passed.", "gates": gates})
    assert sentence_of(accepted) == (
        "All 5 gates passed. Accuracy 80.0% on 100 images. About misses: defective. About slices: accuracy. "
        "About calibration."
    )
