"""Tasks end, also those that lose a cancellation."""

import asyncio

from services.chassis.ending import end


async def test_a_task_that_loses_its_first_cancellation_is_cancelled_again() -> None:
    lost = 0

    async def forever() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost > 1:
                    raise

    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    await asyncio.wait_for(end([task], again_after_s=0.01), 5)
    assert (task.cancelled(), lost) == (True, 2)


async def test_a_task_may_take_its_time_to_clean_up() -> None:
    cleaned = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)
            cleaned.set()

    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    await end([task])
    assert cleaned.is_set()


async def test_nothing_to_end_is_no_error() -> None:
    await end([])
