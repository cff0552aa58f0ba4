"""Request-reply: what is asked is answered in a task and a span of its own, so that no ask waits for another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from nats.aio.msg import Msg

from contracts.envelope import Envelope
from services.chassis.telemetry import SpanKind, inside, span

log = logging.getLogger(__name__)

Reply = Callable[[str, bytes, Mapping[str, str]], Awaitable[bytes]]


def answering(handler: Reply, now: Callable[[], datetime]) -> Callable[[Msg], Awaitable[None]]:
    """Takes asks on `<what>.<project>.<...>`; `handler(project, body, headers)` returns the reply's bytes.

    A handler that raises is logged; who asked then waits until its own time is over.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def answer(message: Msg) -> None:
        project = message.subject.split(".")[1]
        headers = dict(message.headers or {})
        asked = Envelope(
            id="", type="", source="", project=project, time=now(), correlation_id="",
            traceparent=headers.get("traceparent"), tracestate=headers.get("tracestate"),
        )  # fmt: skip
        with inside(asked), span(f"process {message.subject.split('.')[0]}", SpanKind.SERVER):
            try:
                await message.respond(await handler(project, message.data, headers))
            except Exception:
                log.exception("an ask on %s could not be answered", message.subject)

    async def take(message: Msg) -> None:
        task = asyncio.create_task(answer(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return take
