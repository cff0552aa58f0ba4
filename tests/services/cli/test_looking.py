"""predict, feedback, status, models: asking how it is."""

import asyncio
from pathlib import Path

import pytest

from contracts.events.base import Event, ImageRef
from contracts.events.deployment import DeploymentCompleted
from contracts.events.feedback import FeedbackGiven
from contracts.events.model import ModelApproved, ModelPromoted, ModelRegistered
from contracts.events.prediction import (
    MAX_INLINE_BYTES,
    PredictionCompleted,
    PredictionFailed,
    PredictionRequested,
    Timings,
)
from tests.letters import letter
from tests.services.cli.world import FakeClient, defined, png, refused, run
from tests.services.registry.world import evaluation, model_version


def _answer(prediction_id: str = "p-1", label: str = "defective") -> PredictionCompleted:
    return PredictionCompleted(
        prediction_id=prediction_id,
        image=ImageRef(uri=f"blob://{'0' * 64}.png", sha256="0" * 64, width=16, height=16),
        label=label,
        confidence=0.91,
        classes=("functional", "defective"),
        probabilities=(0.09, 0.91),
        model_name="solar-v2",
        model_version=2,
        node="local",
        timings=Timings(waited_ms=0, decode_ms=1, infer_ms=8, total_ms=9),
    )


def _say(client: FakeClient, *events: Event) -> None:
    for event in events:
        asyncio.run(client.say(event, project="solar"))


@pytest.fixture
def image(tmp_path: Path) -> str:
    file = tmp_path / "cell.png"
    file.write_bytes(png(1))
    return str(file)


def test_predict_shows_an_answer_an_image(tmp_path: Path, image: str) -> None:
    client = defined(tmp_path)
    asked: list[PredictionRequested] = []
    client.answer = lambda request: asked.append(request) or _answer()  # type: ignore[func-returns-value]
    outcome = run(client, "predict", image, image)
    assert outcome.code == 0
    assert outcome.out.count("defective") == 2
    assert "91%" in outcome.out
    (row, _) = run(client, "predict", image, image, "--json").json
    assert (row["file"], row["answered"], row["label"], row["model_version"]) == (image, True, "defective", 2)
    assert asked[0].image_base64
    assert asked[0].metadata == {"file": "cell.png"}


def test_large_image_goes_by_the_blob_store(tmp_path: Path) -> None:
    client = defined(tmp_path)
    data = png(2, side=600)
    assert len(data) > MAX_INLINE_BYTES
    (tmp_path / "large.png").write_bytes(data)
    asked: list[PredictionRequested] = []
    client.answer = lambda request: asked.append(request) or _answer()  # type: ignore[func-returns-value]
    assert run(client, "predict", str(tmp_path / "large.png")).code == 0
    assert asked[0].image_uri
    assert client.blobs.read(asked[0].image_uri) == data


def test_image_without_an_answer_makes_the_exit_code_one(tmp_path: Path, image: str) -> None:
    client = defined(tmp_path)
    client.answer = lambda _: PredictionFailed(prediction_id="p-1", reason="no model serves solar yet")
    outcome = run(client, "predict", image)
    assert outcome.code == 1
    assert f"{image}: no model serves solar yet" in outcome.err
    assert run(client, "predict", image, "--json").json[0]["reason"] == "no model serves solar yet"


def test_what_is_no_image_is_not_asked_about(tmp_path: Path, image: str) -> None:
    client = defined(tmp_path)
    (tmp_path / "cut.png").write_bytes(png(1, side=64)[:200])
    assert "truncated" in refused(run(client, "predict", image, str(tmp_path / "cut.png")))
    assert "No such file" in refused(run(client, "predict", str(tmp_path / "none.png")))


def test_feedback_names_what_was_predicted(tmp_path: Path) -> None:
    client = defined(tmp_path)
    _say(client, _answer("p-7"))
    outcome = run(client, "feedback", "p-7", "--correct", "functional", "--by", "inspector")
    assert outcome.code == 0
    (given,) = client.all(FeedbackGiven)
    assert (given.predicted, given.correct, given.given_by, given.model_version) == (
        "defective", "functional", "inspector", 2
    )  # fmt: skip


def test_feedback_that_cannot_be_a_label_is_refused(tmp_path: Path) -> None:
    client = defined(tmp_path)
    _say(client, _answer("p-7"))
    assert "no prediction p-8" in refused(run(client, "feedback", "p-8", "--correct", "functional"))
    assert "no class of solar: functional, defective" in refused(run(client, "feedback", "p-7", "--correct", "brokn"))
    assert client.all(FeedbackGiven) == []


def test_status_shows_the_newest_fact_of_each_stage(tmp_path: Path) -> None:
    client = defined(tmp_path)
    _say(client, evaluation(), ModelRegistered(version=model_version(1)), ModelPromoted(version=model_version(1)))
    answer = run(client, "status", "--json").json
    stages = answer["projects"]["solar"]
    assert stages["dataset"] is None
    assert stages["model"]["type"] == "loopline.model.promoted.v1"
    assert answer["consumers"] == [{"durable": "trainer-training", "pending": 3, "unacked": 1, "redelivered": 0}]
    assert answer["dead_letters"] == 0
    shown = run(client, "status").out
    assert "version 1 is the champion" in shown
    assert "no dead letters" in shown
    client.dead.letters[7] = letter(7)
    assert "dead letters: 1 (loopline dead list)" in run(client, "status").out


def test_status_of_an_empty_bus_says_how_to_begin(tmp_path: Path) -> None:
    assert "loopline import elpv" in run(FakeClient(tmp_path), "status").out


def test_models_tells_which_version_serves_and_why(tmp_path: Path) -> None:
    client = defined(tmp_path)
    assert "no registered model yet" in run(client, "models").out
    _say(client, evaluation())
    for number in (1, 2):
        version = model_version(number)
        _say(
            client,
            ModelRegistered(version=version),
            ModelApproved(version=version, approved_by="gates", why="all 3 gates passed"),
            DeploymentCompleted(version=version, checks=()),
        )
    _say(client, ModelRegistered(version=model_version(3)))
    rows = run(client, "models", "--json").json
    assert [(row["version"], row["state"]) for row in rows] == [(3, "registered"), (2, "serves"), (1, "served")]
    assert (rows[1]["accuracy"], rows[1]["why"]) == (0.8, "gates: all 3 gates passed")
    assert "80.0% (70.0% to 90.0%)" in run(client, "models").out


def test_status_says_which_services_are_missing_and_which_streams_fill_up(tmp_path: Path) -> None:
    client = defined(tmp_path)
    away, full = run(client, "status", "--json").json["trouble"]
    assert away == "not running: deployer"
    assert full.startswith("LOOP: 90% of 100 B are used, and when it is full who speaks has to wait")
    assert full in run(client, "status").out


def test_services_are_shown_with_those_that_are_missing(tmp_path: Path) -> None:
    shown = run(FakeClient(tmp_path), "services").out
    assert "host/trainer" in shown
    assert any("deployer" in line and "does not answer" in line for line in shown.splitlines())
