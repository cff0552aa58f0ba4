"""loopline dead: looking at what was given up, and its two ways out."""

from pathlib import Path

import pytest

from tests.letters import TRACE_ID, letter
from tests.services.cli.world import FakeClient, refused, run


@pytest.fixture
def client(tmp_path: Path) -> FakeClient:
    made = FakeClient(tmp_path)
    made.dead.letters = {
        3: letter(3),
        4: letter(4, durable="registry-versions", name="evaluation.completed", project="wind"),
        5: letter(5, reason="Rejected: \x1b[2J", body=b"\xff\x00", version=9),
    }
    return made


def ids(client: FakeClient, *words: str) -> list[int]:
    return [row["id"] for row in run(client, "dead", "list", *words, "--json").json]


def test_the_list_shows_who_gave_up_on_what_and_why(client: FakeClient) -> None:
    shown = run(client, "dead", "list")
    assert shown.code == 0
    (first, second, third) = shown.out.splitlines()[1:]
    for word in ("3", "trainer-training", "training.requested", "solar", "no such recipe"):
        assert word in first
    assert "registry-versions" in second
    # What a terminal would obey is shown, not done.
    assert "\\x1b[2J" in third
    assert "\x1b" not in shown.out
    assert "loopline dead show ID" in shown.err


def test_the_list_is_of_what_was_asked_for(client: FakeClient) -> None:
    assert ids(client) == [3, 4, 5]
    assert ids(client, "--project", "wind") == [4]
    assert ids(client, "--service", "trainer") == [3, 5]
    assert ids(client, "--type", "training.requested") == [3, 5]
    assert ids(client, "--since", "2026-11-24T09:00:05+00:00") == [5]
    assert "of that kind" in run(client, "dead", "list", "--service", "deployer").out
    assert "there is no service" in refused(run(client, "dead", "list", "--service", "baker"))
    assert "training.requested" in refused(run(client, "dead", "list", "--type", "training.reqested"))
    assert "2h" in refused(run(client, "dead", "list", "--since", "yesterday"))


def test_without_dead_letters_it_says_so(tmp_path: Path) -> None:
    client = FakeClient(tmp_path)
    assert "no dead letters" in run(client, "dead", "list").out
    assert run(client, "dead", "list", "--json").json == []
    assert "no dead letter to replay" in run(client, "dead", "replay", "--all").out


def test_one_is_shown_whole(client: FakeClient) -> None:
    shown = run(client, "dead", "show", "3").out
    for word in ("no such recipe", "  in on_requested", TRACE_ID, '"why": "new lamp"', "ce-id: event-3", "LOOP"):
        assert word in shown
    answer = run(client, "dead", "show", "3", "--json").json
    assert (answer["body"], answer["event_id"], answer["tries"]) == ({"why": "new lamp"}, "event-3", 5)
    assert run(client, "dead", "show", "5", "--json").json["body"] == "base64:/wA="
    assert "no dead letter 9" in refused(run(client, "dead", "show", "9"))


def test_those_that_are_named_are_replayed_and_one_that_is_gone_is_told(client: FakeClient) -> None:
    outcome = run(client, "dead", "replay", "4", "9", "3")
    assert client.dead.ways == [(4, "replayed"), (3, "replayed")]
    assert "4: evaluation.completed went back to registry-versions" in outcome.out
    assert "9: there is no dead letter 9" in outcome.err
    assert "1 of 3" in outcome.err
    assert outcome.code == 1


def test_all_are_replayed_only_after_a_yes(client: FakeClient) -> None:
    question = run(client, "dead", "replay", "--all", "--service", "trainer", stdin="n\n")
    assert "Replay 2 dead letters (2 of trainer-training)?" in question.err
    assert "--yes" in run(client, "dead", "replay", "--all").err
    assert client.dead.ways == []
    assert run(client, "dead", "replay", "--all", "--service", "trainer", stdin="y\n").code == 0
    assert client.dead.ways == [(3, "replayed"), (5, "replayed")]
    (outcome,) = run(client, "dead", "replay", "--all", "--yes", "--json").json
    assert outcome == {"id": 4, "done": True, "durable": "registry-versions", "event_id": "event-4"}


def test_replay_wants_numbers_or_all(client: FakeClient) -> None:
    assert "--all" in refused(run(client, "dead", "replay"))
    assert "--all" in refused(run(client, "dead", "replay", "3", "--all"))
    assert "--service" in refused(run(client, "dead", "replay", "3", "--service", "trainer"))
    assert client.dead.ways == []


def test_who_throws_away_says_why(client: FakeClient) -> None:
    assert "--why" in run(client, "dead", "discard", "3").err
    assert "--why" in refused(run(client, "dead", "discard", "3", "--why", " "))
    assert client.dead.ways == []
    assert run(client, "dead", "discard", "3", "5", "--why", "a typing error").code == 0
    assert client.dead.ways == [(3, "a typing error"), (5, "a typing error")]
