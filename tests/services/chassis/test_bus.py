import asyncio
import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.prediction import PredictionFailed, PredictionRequested
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingFailed, TrainingRequested
from contracts.project import ScopeCard
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.errors import Unreachable
from services.chassis.settings import Settings
from services.chassis.telemetry import span, start_telemetry, stop_telemetry
from tests.eventually import eventually
from tests.services.chassis.conftest import Run

pytestmark = pytest.mark.integration


def card(project: str, goal: str = "") -> ProjectDefined:
    return ProjectDefined(
        card=ScopeCard.model_validate({"project": project, "goal": goal, "data": {"classes": ["a", "b"]}})
    )


async def test_the_last_card_is_the_card(client: Client) -> None:
    assert await client.last(ProjectDefined, "solar") is None
    for goal in ("one", "two"):
        await client.say(card("solar", goal), project="solar")
    await client.say(card("digits"), project="digits")
    found = await client.last(ProjectDefined, "solar")
    assert found
    assert found[0].card.goal == "two"
    assert await client.projects() == ["digits", "solar"]


async def test_a_fact_said_twice_with_one_cause_is_stored_once(client: Client) -> None:
    asked = await client.say(TrainingRequested(), project="solar")
    for _ in range(3):
        await client.say(TrainingFailed(reason="x"), project="solar", cause=asked)
    assert len([event async for event, _, _ in client.read(TrainingFailed)]) == 1


async def test_what_is_stored_is_read_in_order_from_any_place_and_the_unreadable_is_passed_over(client: Client) -> None:
    for n in range(5):
        await client.say(TrainingFailed(reason=str(n)), project="solar")
        await client.bus.jetstream.publish(TrainingFailed.subject("solar"), b"{}")
    stored = [(event.reason, seq) async for event, _, seq in client.read(TrainingFailed, "solar")]
    assert [reason for reason, _ in stored] == ["0", "1", "2", "3", "4"]
    later = client.bus.read(TrainingFailed, "solar", from_seq=stored[3][1])
    assert [event.reason async for event, _, _ in later] == ["3", "4"]
    assert [event async for event, _, _ in client.read(TrainingFailed, "digits")] == []


async def test_who_follows_hears_what_was_said_since_and_what_is_said_now(client: Client) -> None:
    before = client.bus.now()
    await client.say(TrainingFailed(reason="old"), project="solar")
    heard: list[Event] = []

    async def follow() -> None:
        async for event, _ in client.events(since=before):
            heard.append(event)

    following = asyncio.create_task(follow())

    def has(count: int) -> None:
        assert len(heard) == count

    await eventually(lambda: has(1))
    await client.say(PredictionFailed(prediction_id="1", reason="new"), project="solar")
    await eventually(lambda: has(2))
    following.cancel()
    assert [getattr(event, "reason", "") for event in heard] == ["old", "new"]


async def test_an_ask_is_answered_by_one_replica_and_without_any_it_says_so(
    settings: Settings, client: Client, run: Run
) -> None:
    request = PredictionRequested(image_base64="aa")
    with pytest.raises(Unreachable, match="no predictor"):
        await client.predict("solar", request)
    asked: list[str] = []

    def replica() -> Service:
        service = Service("predictor", settings)

        async def answer(project: str, body: bytes, headers: object) -> bytes:
            asked.append(project)
            failed = PredictionFailed(prediction_id="7", reason=json.loads(body)["image_base64"])
            return json.dumps({"type": failed.TYPE, "data": failed.model_dump()}).encode()

        service.reply("ask.*.predict", answer)
        return service

    async with run(replica()), run(replica()):
        answer = await client.predict("solar", request)
    assert isinstance(answer, PredictionFailed)
    assert answer.reason == "aa"
    assert asked == ["solar"]


@pytest.mark.parametrize("url", ["nats://127.0.0.1:1", "nats://nowhere.invalid:4222"])
async def test_a_bus_that_is_not_there_is_told_in_a_sentence(url: str) -> None:
    with pytest.raises(Unreachable, match="taskw up"):
        async with Client.connect(Settings(nats_url=url)):
            pass


async def test_a_wrong_password_is_told_in_a_sentence_without_it(settings: Settings) -> None:
    wrong = settings.model_copy(update={"nats_password": SecretStr("secret-guess")})
    with pytest.raises(Unreachable, match="refuses") as refused:
        async with Client.connect(wrong):
            pass
    assert "secret-guess" not in str(refused.value)


async def test_spans_are_joined_over_the_bus_and_written_as_otlp_lines(
    settings: Settings, client: Client, run: Run, tmp_path: Path
) -> None:
    start_telemetry("chassis-test", str(tmp_path / "spans"))
    service = Service("trainer", settings)

    async def on_requested(event: TrainingRequested, heard: object) -> list[Event]:
        with span("training.run"):
            return [TrainingFailed(reason="x")]

    service.hear("trainer-training", {TrainingRequested: on_requested, DatasetVersioned: on_requested})
    async with run(service):
        await client.say(TrainingRequested(), project="solar")

        async def answered() -> None:
            assert await client.last(TrainingFailed, "solar")

        await eventually(answered)
    stop_telemetry()
    lines = [json.loads(line) for path in (tmp_path / "spans").iterdir() for line in path.read_text().splitlines()]
    spans = {
        one["name"]: one
        for line in lines
        for resource in line["resourceSpans"]
        for scope in resource["scopeSpans"]
        for one in scope["spans"]
    }
    path = ["send training.requested", "process training.requested", "training.run"]
    assert len({spans[name]["traceId"] for name in [*path, "send training.failed"]}) == 1
    for parent, child in (path[:2], path[1:], ("process training.requested", "send training.failed")):
        assert spans[child]["parentSpanId"] == spans[parent]["spanId"], (parent, child)
