"""FastStream's in-memory broker: wiring and validation, without delivery (it has no acks)."""

import json
from collections.abc import Iterable

import pytest
from faststream.nats import TestNatsBroker
from faststream.nats.message import NatsMessage

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.prediction import PredictionFailed, PredictionRequested
from contracts.events.training import TrainingCompleted
from services.chassis.app import Service
from services.chassis.heard import Heard
from services.chassis.settings import Settings


def test_a_durable_whose_events_are_not_all_handled_is_refused() -> None:
    with pytest.raises(ValueError, match=r"training\.completed"):
        Service("evaluator", Settings()).hear("evaluator-judging", {})
    with pytest.raises(KeyError):
        Service("evaluator", Settings()).hear("evaluator-dreaming", {TrainingCompleted: _never})


async def _never(event: Event, heard: Heard) -> Iterable[Event]:
    raise AssertionError


async def test_what_a_handler_returns_is_said_on_its_subject_with_its_cause() -> None:
    service = Service("predictor", Settings())

    async def on_requested(event: PredictionRequested, heard: Heard) -> Iterable[Event]:
        return [PredictionFailed(prediction_id=heard.envelope.id, reason=heard.project)]

    service.hear("predictor-requests", {PredictionRequested: on_requested})
    broker = service.wire_in_memory()
    said: list[tuple[str, dict[str, str]]] = []

    async def whole(message: NatsMessage) -> NatsMessage:
        return message

    @broker.subscriber("loopline.*.prediction.failed", stream="PREDICTIONS", decoder=whole)
    async def listen(message: NatsMessage) -> None:
        said.append((json.loads(message.body)["reason"], dict(message.headers)))

    async with TestNatsBroker(broker):
        asked = Envelope.first(
            PredictionRequested(image_base64="aa"), project="solar", source="x", id="42", time=service.bus.now()
        )
        await broker.publish(b'{"image_base64": "aa"}', asked.subject, headers=asked.headers(), stream="REQUESTS")
    assert [(reason, headers["ce-causationid"]) for reason, headers in said] == [("solar", "42")]
