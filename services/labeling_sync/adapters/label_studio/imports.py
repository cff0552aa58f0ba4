"""Tasks that are wanted at the same time, made by one call: a call costs 150 ms whether it makes one task or 64."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress

from services.chassis.errors import Rejected
from services.labeling_sync.labels import MadeTask, NewTask

_AT_MOST = 64
_LINGER_S = 0.08

Send = Callable[[int, list[NewTask]], Awaitable[list[MadeTask]]]


class Imports:
    """`send(project_id, tasks)` makes up to 64 tasks; one call at a time, for Label Studio's ids race on SQLite."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: defaultdict[int, list[tuple[NewTask, asyncio.Future[MadeTask]]]] = defaultdict(list)
        self._more = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None

    async def make(self, project_id: int, task: NewTask) -> MadeTask:
        """The task, once the call that makes it has ended."""
        made: asyncio.Future[MadeTask] = asyncio.get_running_loop().create_future()
        self._waiting[project_id].append((task, made))
        self._more.set()
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())
        return await made

    async def _send_all(self) -> None:
        while self._waiting:
            project_id, waiting = next(iter(self._waiting.items()))
            with suppress(TimeoutError):  # once no more come they are a batch
                while len(waiting) < _AT_MOST:
                    self._more.clear()
                    await asyncio.wait_for(self._more.wait(), _LINGER_S)
            batch, rest = waiting[:_AT_MOST], waiting[_AT_MOST:]
            if rest:
                self._waiting[project_id] = rest
            else:
                del self._waiting[project_id]
            await self._send_batch(project_id, [(task, made) for task, made in batch if not made.done()])

    async def _send_batch(self, project_id: int, batch: list[tuple[NewTask, asyncio.Future[MadeTask]]]) -> None:
        if not batch:
            return
        try:
            answers = await self._send(project_id, [task for task, _ in batch])
        except Rejected as error:
            if len(batch) > 1:  # one of them is at fault: let only that one fail
                for one in batch:
                    await self._send_batch(project_id, [one])
                return
            batch[0][1].set_exception(error)
            return
        except Exception as error:
            for _, made in batch:
                if not made.done():
                    made.set_exception(error)
            return
        for (_, made), answer in zip(batch, answers, strict=True):
            if not made.done():
                made.set_result(answer)
