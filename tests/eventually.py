"""Waiting for a condition instead of for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def eventually(
    assertion: Callable[[], Awaitable[None] | None], timeout_s: float = 10, every_s: float = 0.05
) -> None:
    """Call `assertion` until it no longer raises AssertionError; its last error when `timeout_s` have passed."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            outcome = assertion()
            if inspect.isawaitable(outcome):
                await outcome
            return
        except AssertionError:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(every_s)
