import asyncio

import pytest

from services.chassis.errors import Rejected, Retry
from services.labeling_sync.adapters.label_studio.imports import Imports
from services.labeling_sync.labels import MadeTask, NewTask


def wanted(number: int) -> NewTask:
    return NewTask(f"{number:064x}", "blob://x", "random", 1, 1, f"e{number}")


class Studio:
    """Takes a moment for each call; refuses a batch in which a task is bad."""

    def __init__(self, bad: int = -1, breaks_at: int = -1) -> None:
        self.calls: list[int] = []
        self.running = 0
        self._bad = wanted(bad) if bad >= 0 else None
        self._breaks_at = breaks_at

    async def __call__(self, project_id: int, tasks: list[NewTask]) -> list[MadeTask]:
        assert self.running == 0, "two calls at once"
        self.running += 1
        self.calls.append(len(tasks))
        await asyncio.sleep(0)
        self.running -= 1
        if len(self.calls) == self._breaks_at:
            raise Retry("no answer")
        if self._bad in tasks:
            raise Rejected("a bad task")
        return [MadeTask(int(task.sha256, 16), task.event) for task in tasks]


async def test_tasks_that_are_wanted_together_are_made_by_few_calls() -> None:
    studio = Studio()
    imports = Imports(studio)
    made = await asyncio.gather(*(imports.make(number % 2, wanted(number)) for number in range(200)))
    assert [task.id for task in made] == list(range(200))
    assert sorted(studio.calls) == [36, 36, 64, 64]
    assert (await imports.make(1, wanted(7))).id == 7


async def test_a_task_that_is_refused_fails_alone() -> None:
    imports = Imports(Studio(bad=3))
    made = await asyncio.gather(*(imports.make(1, wanted(number)) for number in range(5)), return_exceptions=True)
    assert [type(one) for one in made] == [MadeTask, MadeTask, MadeTask, Rejected, MadeTask]


async def test_a_call_that_fails_fails_its_tasks_and_the_next_goes_on() -> None:
    imports = Imports(Studio(breaks_at=1))
    made = await asyncio.gather(*(imports.make(1, wanted(number)) for number in range(100)), return_exceptions=True)
    assert [type(one) for one in made].count(Retry) == 64
    assert isinstance(made[99], MadeTask)


async def test_whoever_stops_waiting_holds_up_nobody() -> None:
    imports = Imports(Studio())
    gone = asyncio.create_task(imports.make(1, wanted(1)))
    stays = asyncio.create_task(imports.make(1, wanted(2)))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).id == 2
    with pytest.raises(asyncio.CancelledError):
        await gone
