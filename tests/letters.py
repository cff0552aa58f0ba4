"""Dead letters as the chassis writes them, for the tests of the command line and of the web application."""

from datetime import UTC, datetime, timedelta

from nats.js.api import RawStreamMsg

from services.chassis.dead import DeadLetter

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def letter(
    id_: int,
    *,
    durable: str = "trainer-training",
    name: str = "training.requested",
    project: str = "solar",
    reason: str = "Rejected: no such recipe",
    body: bytes = b'{"why": "new lamp"}',
    version: int = 1,
) -> DeadLetter:
    """Number `id_`, given up that many seconds after the start."""
    headers = {
        "ce-id": f"event-{id_}",
        "ce-type": f"loopline.{name}.v{version}",
        "loopline-dead-durable": durable,
        "loopline-dead-stream": "LOOP",
        "loopline-dead-sequence": str(100 + id_),
        "loopline-dead-origin": f"LOOP:{100 + id_}",
        "loopline-dead-subject": f"loopline.{project}.{name}",
        "loopline-dead-tries": "5",
        "loopline-dead-at": (START + timedelta(seconds=id_)).isoformat(),
        "loopline-dead-reason": reason,
        "loopline-dead-stack": "Traceback:\\n  in on_requested",
        "loopline-dead-trace": TRACE_ID,
    }
    return DeadLetter.read(
        RawStreamMsg(f"loopline-dead.LOOP.{durable}", seq=id_, data=body, headers=headers, time=START)
    )
