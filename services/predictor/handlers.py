"""What the predictor does about a request from the bus, and about one that waits for its reply."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping

from pydantic import ValidationError

from contracts.events.base import PROJECT_PATTERN, Event
from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested
from services.chassis.errors import Retry, explain
from services.chassis.heard import Heard
from services.predictor.ports import Ports
from services.predictor.predicting import predict

_PROJECT = re.compile(PROJECT_PATTERN)

Say = Callable[[Event, str], Awaitable[object]]


async def on_prediction_requested(event: PredictionRequested, heard: Heard, *, ports: Ports) -> list[Event]:
    """Answer with `prediction.completed` or `prediction.failed`. No node at the moment: waited for."""
    envelope = heard.envelope
    answered = await predict(
        event, project=heard.project, prediction_id=envelope.id, asked_at=envelope.time, ports=ports
    )
    return [answered]


async def answer_ask(
    project: str, body: bytes, headers: Mapping[str, str], *, ports: Ports, say: Say, new_id: Callable[[], str]
) -> bytes:
    """Answer `{"type": …, "data": …}` to the JSON of a `PredictionRequested`; the answer is said on the bus as well.

    What cannot be understood is answered with a `prediction.failed` that nobody else hears.
    """
    prediction_id = new_id()
    if not _PROJECT.fullmatch(project):
        return _reply(PredictionFailed(prediction_id=prediction_id, reason=f"{project!r} cannot be a project's name"))
    try:
        request = PredictionRequested.model_validate_json(body)
    except ValidationError as error:
        reason = f"this is no prediction.requested: {explain(error)}"
        return _reply(PredictionFailed(prediction_id=prediction_id, reason=reason))
    answered: PredictionCompleted | PredictionFailed
    try:
        answered = await predict(
            request, project=project, prediction_id=prediction_id, asked_at=ports.now(), ports=ports
        )
    except Retry as error:
        # The asker waits: better a clear no than an answer after its time-out.
        reason = f"{error}; ask again in some seconds"
        answered = PredictionFailed(prediction_id=prediction_id, reason=reason, metadata=request.metadata)
    await say(answered, project)
    return _reply(answered)


def _reply(event: Event) -> bytes:
    return json.dumps({"type": event.TYPE, "data": event.model_dump(mode="json")}).encode()
