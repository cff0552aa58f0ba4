"""A training that somebody cancels: the word is found in the stream, by every replica and after every crash.

`training.cancelled`, said by anyone but a trainer, ends what was asked for before it. So the place in the stream
decides and not the time at which a replica looks: a request that waits its turn is cancelled like one in work, and one
that is said afterwards is not.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from contracts.events.training import TrainingCancelled
from services.chassis.heard import Heard
from services.chassis.recipes import NotARecipe
from services.trainer.asking import filled
from services.trainer.job import Job
from services.trainer.plan import sequence
from services.trainer.ports import Facts

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_OURS = "/services/trainer"

T = TypeVar("T")


class Unwanted(Exception):
    """The training in work was cancelled; the text says by whom and why."""


async def why_cancelled(job: Job, heard: Heard, facts: Facts) -> str:
    """By whom and why what this message asks for was cancelled since; "" where it was not."""
    async for event, envelope, _ in facts.read(TrainingCancelled, heard.project, from_seq=sequence(heard.owner) + 1):
        if envelope.source != _OURS and _is_of(event, job):
            return f"cancelled by {envelope.source.rpartition('/')[2]}: {event.reason}"
    return ""


async def until_cancelled(job: Job, heard: Heard, facts: Facts) -> str:
    """Look again and again; returns once it is cancelled, with why."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            if reason := await why_cancelled(job, heard, facts):
                return reason
        except Exception as error:
            # Nobody can say anything then. How long work goes on without a bus is not decided here.
            log.warning("whether %s was cancelled could not be seen: %s", job.claim, error)


async def unless(cancelled: Coroutine[Any, Any, str], steps: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """The steps as they come, closed when `cancelled` returns first.

    Raises:
        Unwanted: it did; with what it returned.
    """
    watch = asyncio.create_task(cancelled)
    async with aclosing(steps):
        try:
            while True:
                step = asyncio.create_task(_next(steps))
                try:
                    await asyncio.wait({step, watch}, return_when=asyncio.FIRST_COMPLETED)
                    if not step.done():
                        raise Unwanted(watch.result())
                finally:
                    step.cancel()
                    await asyncio.wait({step})
                found = step.result()
                if found is None:
                    return
                yield found
        finally:
            watch.cancel()


async def _next(steps: AsyncGenerator[T]) -> T | None:
    return await anext(steps, None)


def _is_of(event: TrainingCancelled, job: Job) -> bool:
    """Whether it names this plan; what a person leaves out of it has its default."""
    if event.plan == job.plan:
        return True
    try:
        return filled(event.plan) == job.plan
    except NotARecipe:
        return False
