"""The bus as an AsyncAPI 3.0 document, `contracts/asyncapi.yaml`: from events, topology and who may say what."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.envelope import MAX_HOPS
from contracts.events import EVENTS
from contracts.events.base import PROJECT_PATTERN, Event
from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested
from contracts.topology import CONSUMERS, ask_subject, stream_of

_HEADERS: Mapping[str, tuple[str, str]] = {
    "ce-specversion": ("CloudEvents' version", "1.0"),
    "ce-id": ("What makes the event one; missing, it is derived from stream and sequence", "0b0f1a52-7c3e-5d8e-9a41"),
    "ce-type": ("Missing, it is version 1 of what the subject names", "loopline.training.requested.v1"),
    "ce-source": ("Who says it", "/services/trainer"),
    "ce-subject": ("The project; missing, it is that of the subject", "solar"),
    "ce-time": ("When it was said; missing, it is when it was stored", "2026-11-24T12:00:00.000000+00:00"),
    "ce-dataschema": ("The schema of the body", "/contracts/schemas/loopline.training.requested.v1.json"),
    "ce-correlationid": ("One turn of the loop; missing, it is the id", "0b0f1a52-7c3e-5d8e-9a41"),
    "ce-causationid": ("The event that caused this one", "0b0f1a52-7c3e-5d8e-9a41"),
    "ce-hops": (f"How many causes came before; over {MAX_HOPS} it is refused as a loop", "3"),
    "Nats-Msg-Id": ("The id once more: what is stored twice within the stream's window is stored once", "0b0f1a52"),
    "traceparent": ("W3C trace context", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
}
_ASK = "ask.predict"
_ANSWER = "prediction.answer"


def document(says: Mapping[str, Sequence[type[Event]]]) -> dict[str, Any]:
    """The document. `says` names for every user of the bus, services among them, the events that it may say."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Loopline",
            "version": "1",
            "description": "Label, train, judge, deploy, predict, correct: every step is started by a fact on the bus. "
            "Subject and body are enough to say one; all headers are optional.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "NATS with JetStream"}},
        "channels": {event.name(): _channel(event) for event in EVENTS.values()} | {_ASK: _ask_channel()},
        "operations": _operations(says),
        "components": {
            "messages": {event.TYPE: _message(event) for event in EVENTS.values()} | {_ANSWER: _answer()},
            "parameters": {"project": {"description": f"A project: {PROJECT_PATTERN}", "examples": ["solar"]}},
            "schemas": {"headers": _headers()},
        },
    }


def _channel(event: type[Event]) -> dict[str, Any]:
    return {
        "address": event.subject("{project}"),
        "description": f"Stored in the stream {stream_of(event)}",
        "messages": {event.TYPE: _ref("components", "messages", event.TYPE)},
        "parameters": {"project": _ref("components", "parameters", "project")},
    }


def _message(event: type[Event]) -> dict[str, Any]:
    return {
        "name": event.TYPE,
        "title": event.name(),
        "summary": inspect.cleandoc(event.__doc__ or "").splitlines()[0],
        "contentType": "application/json",
        "headers": _ref("components", "schemas", "headers"),
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./schemas/{event.TYPE}.json"},
        },
        "correlationId": {"location": "$message.header#/ce-correlationid"},
        "x-example": f"./examples/{event.TYPE}.json",
    }


def _ask_channel() -> dict[str, Any]:
    messages = (PredictionRequested.TYPE, _ANSWER)
    return {
        "address": ask_subject("{project}"),
        "description": "Request and reply, outside every stream",
        "messages": {name: _ref("components", "messages", name) for name in messages},
        "parameters": {"project": _ref("components", "parameters", "project")},
    }


def _answer() -> dict[str, Any]:
    types = [PredictionCompleted.TYPE, PredictionFailed.TYPE]
    return {
        "name": _ANSWER,
        "summary": "The answer, with the type that says which of the two it is.",
        "contentType": "application/json",
        "payload": {
            "type": "object",
            "required": ["type", "data"],
            "properties": {
                "type": {"type": "string", "enum": types},
                "data": {"oneOf": [{"$ref": f"./schemas/{type_}.json"} for type_ in types]},
            },
        },
    }


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            name: {"type": "string", "description": meaning, "examples": [example]}
            for name, (meaning, example) in _HEADERS.items()
        },
    }


def _operations(says: Mapping[str, Sequence[type[Event]]]) -> dict[str, Any]:
    sent = {
        f"{who}.send.{event.name()}": _operation("send", event, f"{who} says {event.name()}")
        for who, events in says.items()
        for event in events
    }
    heard = {
        f"{row.service}.receive.{event.name()}": _operation("receive", event, f"Heard by the durable {row.durable}")
        for row in CONSUMERS
        for event in row.hears
    }
    asked = {
        "action": "receive",
        "channel": _ref("channels", _ASK),
        "messages": [_ref("channels", _ASK, "messages", PredictionRequested.TYPE)],
        "summary": "Answers whoever asks for a prediction and waits",
        "reply": {"channel": _ref("channels", _ASK), "messages": [_ref("channels", _ASK, "messages", _ANSWER)]},
    }
    return sent | heard | {f"predictor.receive.{_ASK}": asked}


def _operation(action: str, event: type[Event], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": _ref("channels", event.name()),
        "messages": [_ref("channels", event.name(), "messages", event.TYPE)],
        "summary": summary,
    }


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}
