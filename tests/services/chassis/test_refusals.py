"""A refusal of the server wakes who waits for it, and no one else."""

import asyncio

import nats.errors
import pytest

from services.chassis.errors import NotAllowed
from services.chassis.refusals import Refusals


def refusal(subject: str, what: str = "publish to") -> Exception:
    """As nats-py gives it: in lower case."""
    return nats.errors.Error(f'nats: Permissions Violation for {what} "{subject}"'.lower())


async def wait_for_an_answer(refusals: Refusals, subject: str) -> None:
    with refusals.watched(subject):
        await asyncio.Event().wait()


async def started(*tasks: "asyncio.Task[None]") -> None:
    """Lets tasks come to where they wait."""
    for _ in tasks:
        await asyncio.sleep(0)


async def test_all_who_wait_for_the_refused_subject_are_told_and_others_wait_on() -> None:
    refusals = Refusals()
    two = [asyncio.create_task(wait_for_an_answer(refusals, "loopline.p.Model.promoted")) for _ in range(2)]
    other = asyncio.create_task(wait_for_an_answer(refusals, "loopline.p.model"))
    await started(*two, other)
    # One for each publish: the second must not count as a second cancellation.
    refusals.heard(refusal("loopline.p.Model.promoted"))
    refusals.heard(refusal("loopline.p.Model.promoted"))
    for task in two:
        with pytest.raises(NotAllowed, match=r"^not allowed to say loopline\.p\.Model\.promoted$"):
            await task
        assert not task.cancelling()
    assert not other.done()
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
    assert not refusals._waiting


async def test_a_cancellation_from_elsewhere_goes_on_even_when_it_is_refused_at_the_same_moment() -> None:
    refusals = Refusals()
    task = asyncio.create_task(wait_for_an_answer(refusals, "a"))
    await started(task)
    task.cancel()
    refusals.heard(refusal("a"))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_refused_subscription_is_kept_in_mind_and_wakes_nobody() -> None:
    refusals = Refusals()
    task = asyncio.create_task(wait_for_an_answer(refusals, "ask.*.predict"))
    await started(task)
    refusals.heard(refusal("ask.*.predict", "subscription to"))
    refusals.heard(nats.errors.Error("nats: stale connection"))
    await asyncio.sleep(0)
    assert refusals.unheard == {"ask.*.predict"}
    assert not task.done()
    task.cancel()
