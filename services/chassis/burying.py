"""Dead letters: what could not be handled goes to the stream DEAD as a whole, and people are told."""

import logging
import sys
import traceback
from collections.abc import Mapping

from contracts.envelope import Envelope
from contracts.events.message import MessageDeadLettered
from contracts.topology import DEAD, Consumer, dead_subject
from services.chassis.bus import Bus
from services.chassis.errors import NotAllowed, Retry
from services.chassis.received import Received, project_of, written_out
from services.chassis.telemetry import carried

log = logging.getLogger(__name__)

_REASON_CHARS = 1000
_STACK_CHARS = 4000
_HEADER_BYTES = 63 * 1024
# Around the headers, and one more that the client adds: the name of the stream.
_FRAME_BYTES = 256


async def bury(
    bus: Bus, consumer: Consumer, received: Received, envelope: Envelope | None, error: BaseException
) -> None:
    """Store the message with where, why, when and how often it failed, then say `message.dead-lettered`.

    Nothing is said about what names no project: then the log and the stream have it alone.
    """
    reason = _one_line(f"{type(error).__name__}: {error}")[:_REASON_CHARS]
    log.error("dead letter from %s: %s", received.position, reason, exc_info=error)
    stack = "".join(traceback.format_exception(error))[-_STACK_CHARS:]
    trace = (carried()[0] or (envelope and envelope.traceparent) or "").split("-")
    headers = {
        **written_out(received.headers, envelope),
        "loopline-dead-durable": consumer.durable,
        "loopline-dead-stream": received.stream,
        "loopline-dead-sequence": str(received.seq),
        "loopline-dead-origin": received.origin,
        "loopline-dead-subject": received.subject,
        "loopline-dead-tries": str(received.tries),
        "loopline-dead-at": bus.now().isoformat(),
        "loopline-dead-reason": reason,
        "loopline-dead-stack": _one_line(stack, "\\n"),
        "loopline-dead-trace": trace[1] if len(trace) == 4 else "",
        "Nats-Msg-Id": f"dead|{consumer.durable}|{received.position}",
    }
    headers, body = _fitted(headers, received.raw.data, _limit(bus))
    letter = await bus.store(dead_subject(received.stream, consumer.durable), body, headers, DEAD)
    project = project_of(received.subject)
    if not project:
        log.warning("dead letter %s is about no project: nothing is said about it", letter)
        return
    told = MessageDeadLettered(
        letter=letter,
        durable=consumer.durable,
        stream=received.stream,
        sequence=received.seq,
        type=envelope.type if envelope else "",
        reason=reason,
        tries=received.tries,
    )
    try:
        await bus.say(told, project=project, cause=envelope)
    except NotAllowed:
        # The letter is safe; to try the message again for that would be worse than an alert that is missing.
        log.exception("dead letter %s is stored, and nobody could be told", letter)


def _limit(bus: Bus) -> int:
    """Bytes that the server takes of one message, its headers counted in."""
    try:
        return int(bus.connection.max_payload)
    except Retry:  # in memory there is no server
        return sys.maxsize


def _fitted(headers: Mapping[str, str], body: bytes, limit: int) -> tuple[dict[str, str], bytes]:
    """The letter within the limit. Over it the server closes the connection for good, so that a body is cut instead.

    Of headers a stream takes 64 KiB, which the message may have used up alone: then its largest foreign ones stay away.
    """
    headers = dict(headers)
    for name in sorted(headers, key=lambda one: -len(headers[one].encode())):
        if _size(headers) > _HEADER_BYTES and not name.lower().startswith(("ce-", "loopline-", "nats-")):
            del headers[name]
    room = limit - _size(headers)
    if len(body) <= room:
        return dict(headers), body
    cut = {**headers, "loopline-dead-whole-bytes": str(len(body))}
    return cut, body[: limit - _size(cut)]


def _size(headers: Mapping[str, str]) -> int:
    return _FRAME_BYTES + sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())


def _one_line(text: str, newline: str = " ") -> str:
    return text.replace("\r", "").replace("\n", newline)
