"""The list of the points of death, as people read it."""

import json
from pathlib import Path

import pytest

from tests.chaos.dying_effects import of_message, of_request
from tests.chaos.killpoints import STANDING_STILL, every_point, table

README = Path(__file__).parents[2] / "services" / "chassis" / "README.md"


def test_the_readme_of_the_chassis_has_the_list() -> None:
    assert table() in README.read_text()


def test_no_point_is_listed_twice_and_those_where_a_process_stands_still_are_listed() -> None:
    points = [(one.name, point.before) for one, point in every_point()]
    assert len(points) == len(set(points))
    assert set(STANDING_STILL) <= set(points)


@pytest.mark.parametrize(
    ("subject", "payload", "headers", "name"),
    [
        ("loopline.solar.training.completed", {}, {}, "say training.completed"),
        ("$KV.claims.task.solar.1", {"owner": "LOOP:1"}, {}, "claim task"),
        ("$KV.claims.task.solar.1", {"owner": "LOOP:1", "result": {}}, {}, "finish task"),
        ("$KV.claims.task.solar.1", {}, {"KV-Operation": "DEL"}, "release task"),
        ("$KV.claims.lease.trainer.x", {"owner": "a"}, {}, None),
        ("$KV.cursors.labels.solar", {}, {}, "save labels"),
        ("$KV.deployments.solar", {}, {}, "save deployments"),
        ("$KV.watched.reference.solar", {}, {}, "save reference"),
        ("$KV.watched.state.solar", {}, {}, "save watched"),
        ("loopline-dead.LOOP.trainer-training", {}, {}, "bury"),
        ("$JS.API.CONSUMER.INFO.LOOP.x", {}, {}, None),
        ("anything.else", {}, {}, "publish anything"),
    ],
)
def test_a_message_is_named_by_what_it_does(
    subject: str, payload: object, headers: dict[str, str], name: str | None
) -> None:
    assert of_message(subject, json.dumps(payload).encode(), headers) == name


def test_acks_are_effects_and_keep_alives_are_not() -> None:
    reply = "$JS.ACK.LOOP.trainer-training.1.2.3.4.0"
    named = [of_message(reply, payload, None) for payload in (b"", b'-NAK {"delay": 1}', b"+WPI")]
    assert named == ["ack", "nak", None]


@pytest.mark.parametrize(
    ("server", "method", "path", "name"),
    [
        ("label-studio", "GET", "/api/projects/", None),
        ("label-studio", "POST", "/api/projects/", "label-studio POST projects"),
        ("label-studio", "PATCH", "/api/projects/7/", "label-studio PATCH projects"),
        ("label-studio", "POST", "/api/projects/7/import", "label-studio POST import"),
        ("mlflow", "POST", "/api/2.0/mlflow/runs/search", None),
        ("mlflow", "POST", "/api/2.0/mlflow/runs/create", "mlflow POST runs/create"),
        ("mlflow", "PUT", "/api/2.0/mlflow-artifacts/artifacts/1/0f3a/artifacts/model.pt", "mlflow PUT model.pt"),
    ],
)
def test_a_request_is_named_by_what_it_writes(server: str, method: str, path: str, name: str | None) -> None:
    assert of_request(server, method, f"http://127.0.0.1:1{path}") == name
