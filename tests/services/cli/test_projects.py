from pathlib import Path

import pytest

from contracts.events.project import ProjectDefined
from services.chassis.errors import Unreachable
from services.cli.cards import load_card
from tests.services.cli.world import CARD, FakeClient, defined, refused, run


def test_apply_says_the_card_and_show_gives_it_back(tmp_path: Path) -> None:
    client = defined(tmp_path)
    (said,) = client.all(ProjectDefined)
    assert said.card.data.classes == ("functional", "defective")
    shown = run(client, "project", "show")
    (tmp_path / "again.yaml").write_text(shown.out)
    assert run(client, "project", "apply", str(tmp_path / "again.yaml"), "--json").json["defined_before"] is True
    assert client.all(ProjectDefined)[1] == said
    assert run(client, "project", "show", "--json").json == said.card.model_dump(mode="json")


def test_card_may_be_json(tmp_path: Path) -> None:
    client = FakeClient(tmp_path)
    file = tmp_path / "card.json"
    file.write_text('{"project": "parts", "data": {"classes": ["good", "bad"]}}')
    assert run(client, "project", "apply", str(file)).code == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (CARD + "gaols: {}", "gaols: there is no such field"),
        (CARD.replace("[functional, defective]", "[one]"), "data.classes: Tuple should have at least 2 items"),
        (CARD + "gates: {floors: [{metric: recall.brokn, at_least: 0.5}]}", "recall.brokn names no class of the card"),
        (CARD.replace("solar", "../solar"), "project: String should match pattern"),
        (
            CARD.replace("[functional, defective]", "[functional, defective], renamed: {defective: functional}"),
            "data.renamed: defective is still a class",
        ),
        (
            CARD.replace("[functional, defective]", "[functional, defective], renamed: {broken: brokn}"),
            "data.renamed: broken leads to brokn, which is no class",
        ),
        ("project: [", "is no YAML"),
        ("just text", "is no scope card"),
    ],
)
def test_bad_card_is_refused_in_a_line_that_names_the_field(tmp_path: Path, text: str, complaint: str) -> None:
    client = FakeClient(tmp_path)
    file = tmp_path / "card.yaml"
    file.write_text(text)
    assert complaint in refused(run(client, "project", "apply", str(file)))
    assert client.said == []


def test_card_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(run(FakeClient(tmp_path), "project", "apply", str(tmp_path / "no.yaml")))


@pytest.mark.parametrize("name", ["../etc", "So lar", "-x", "a" * 41, "a.b", "*", ">", ""])
def test_project_names_that_would_leave_their_place_are_refused(tmp_path: Path, name: str) -> None:
    client = defined(tmp_path)
    assert "cannot be a project's name" in refused(run(client, "dataset", "request", f"--project={name}"))
    assert len(client.said) == 1


def test_unknown_project_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    line = refused(run(defined(tmp_path), "dataset", "request", "--project", "lunar"))
    assert "lunar is not defined (defined: solar)" in line


def test_bus_that_cannot_be_reached_is_said_in_a_line(tmp_path: Path) -> None:
    client = FakeClient(tmp_path, refuses=Unreachable("cannot reach NATS at nats://x: is the stack up? ./taskw up"))
    assert refused(run(client, "status")) == "cannot reach NATS at nats://x: is the stack up? ./taskw up"


def test_wrong_options_are_a_line_too(tmp_path: Path) -> None:
    assert "No such option" in refused(run(FakeClient(tmp_path), "status", "--nope"))
    assert "No such command" in refused(run(FakeClient(tmp_path), "statsu"))


def test_unexpected_error_is_a_line_and_no_traceback(tmp_path: Path) -> None:
    outcome = run(FakeClient(tmp_path, refuses=RuntimeError("boom")), "status")
    assert outcome.code == 1
    assert outcome.err.splitlines() == ["loopline: RuntimeError: boom (LOOPLINE_LOG_LEVEL=DEBUG shows where)"]


def test_built_in_cards_are_good() -> None:
    solar, digits = load_card("solar"), load_card("digits")
    assert solar.data.split.test == pytest.approx(1 / 3, abs=1e-4)
    assert (solar.label.freeze.new_labels, solar.label.query.uncertain) == (400, 200)
    assert digits.data.classes == tuple("0123456789")
