"""Ending tasks for sure."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_AFTER_S = 2.0


async def end(tasks: Iterable["asyncio.Task[Any]"], again_after_s: float = _AGAIN_AFTER_S) -> None:
    """Cancel tasks and wait until they have ended.

    Cancelled once more where that was lost: `asyncio.wait_for` of Python 3.11, which is in every call of nats-py,
    drops a cancellation that comes in the same moment as the answer (python/cpython#86296).
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=again_after_s)


def raise_if_cancelled() -> None:
    """For a loop without end, each time around: ends the running task where its cancellation was lost on the way."""
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError
