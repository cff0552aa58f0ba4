"""A warm child process that speaks JSON lines: heavy imports are paid once, and what runs in it can be stopped.

The parent writes one job a line to the child's standard input; the child answers with lines of progress and, last, a
result or an error. The child ends when its parent does: its standard input is then closed.
"""

import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from services.chassis.errors import Away, Rejected

log = logging.getLogger(__name__)

TORCH_ENV = {
    # glibc gives large buffers back to the system after every batch; keeping them makes batches on a CPU twice as fast.
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    # Threads that wait by spinning take the cores from the other processes of this machine.
    "OMP_WAIT_POLICY": "PASSIVE",
}

_PR_SET_PDEATHSIG = 1
_PARENT = "LOOPLINE_CHILD_OF"
_LINE_LIMIT = 16 * 2**20


class ChildFailed(Exception):
    """The job ended with an error.

    `rejected` means that its input is bad and no repetition mends it, `away` that a system outside does not answer.
    """

    def __init__(self, reason: str, *, rejected: bool = False, away: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.rejected = rejected
        self.away = away


class WarmChild:
    """One child, one job at a time; begun anew after it was stopped or died.

    `launcher` is a Python module with its arguments that starts the child, in as many processes as it likes: the first
    of them speaks. After a job that failed all are begun anew, for the others may be waiting for the first.
    """

    def __init__(self, module: str, env: Mapping[str, str] | None = None, launcher: Sequence[str] = ()) -> None:
        self._module = module
        self._launcher = tuple(launcher)
        self._env = {**os.environ, **TORCH_ENV, **(env or {})}
        self._process: asyncio.subprocess.Process | None = None
        self._one = asyncio.Lock()

    async def start(self) -> None:
        """Start the child, which then warms up by itself. Does nothing where one runs."""
        if self._process and self._process.returncode is None:
            return
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *self._launcher, self._module,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_LIMIT,
            env={**self._env, _PARENT: "" if self._launcher else str(os.getpid())},
        )  # fmt: skip

    async def run(self, job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Do a job: every progress the child reports, then `{"result": {…}}`.

        A caller that stops early, or is cancelled, stops the child with it.

        Raises:
            ChildFailed: the job raised, or the child died.
        """
        async with self._one:
            await self.start()
            process = self._process
            assert process
            assert process.stdin
            assert process.stdout
            finished = False
            try:
                with suppress(ConnectionError):
                    process.stdin.write(json.dumps(job).encode() + b"\n")
                    await process.stdin.drain()
                while line := await process.stdout.readline():
                    answer = json.loads(line)
                    finished = "result" in answer or ("error" in answer and not self._launcher)
                    if "error" in answer:
                        raise ChildFailed(answer["error"], rejected=answer["rejected"], away=answer["away"])
                    yield answer
                    if finished:
                        return
                code = await process.wait()
                raise ChildFailed(f"the child process died in mid-work (exit code {code})")
            finally:
                if not finished:
                    await self.stop()

    async def stop(self) -> None:
        """End the child at once."""
        process, self._process = self._process, None
        if process and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


Report = Callable[[dict[str, Any]], None]


def serve(handle: Callable[[dict[str, Any], Report], dict[str, Any]], warm: Callable[[], None] | None = None) -> None:
    """The child's side: answer jobs from standard input until it is closed.

    Standard output is the channel, so whatever a library prints goes to standard error. `warm` runs once, first.
    """
    started_by = os.environ[_PARENT]
    tether(int(started_by) if started_by else None)
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(answer: dict[str, Any]) -> None:
        try:
            channel.write(json.dumps(answer) + "\n")
            channel.flush()
        except BrokenPipeError:
            # The parent is gone and another may have its job: nothing more is to be done in its name, no error noted.
            os._exit(1)

    if warm:
        warm()
    for line in sys.stdin:
        try:
            say({"result": handle(json.loads(line), say)})
        except Exception as error:
            traceback.print_exc()
            expected = isinstance(error, Rejected | Away)
            say({"error": f"{error}" if expected else f"{type(error).__name__}: {error}",
                 "rejected": isinstance(error, Rejected), "away": isinstance(error, Away)})  # fmt: skip


def tether(parent: int | None = None) -> None:
    """Ask the kernel (Linux) to end this process when its parent dies, also in the middle of a job.

    `parent` is who started it: it may be gone by now, with a job left in the pipe. Whoever is the parent when missing.
    """
    if sys.platform != "linux":
        return
    parent = parent or os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent died before this process was tied to it")
