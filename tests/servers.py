"""Real servers for tests: each runs until its `with` ends, and ends with the test run even when that is killed."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from deploy.embedded import tethered
from deploy.embedded.servers import Process

_POLL_S = 0.1
_STOP_S = 15.0


class DidNotStart(Exception):
    """A server ended or was not ready in time; the message has the end of its log."""


@contextmanager
def running(process: Process, log: Path) -> Iterator[int]:
    """Run a server from when it is ready until the `with` ends; gives its process id. Its output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            tethered.command(process.command, tree=process.tree),
            env={**os.environ, **process.env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(process, child, log)
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def naming(folder: Path) -> list[str]:
    """The command lines of the processes, but not this one, that name a folder in their arguments or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                words = [*process.cmdline(), *process.environ().values()]
                if any(str(folder) in word for word in words):
                    found.append(f"{process.pid} {' '.join(process.cmdline())}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended while being looked at, or is another user's
    return found


def eventually_gone(folder: Path, timeout_s: float = 15) -> None:
    """Assert that within the time no process is left that names the folder."""
    until = time.monotonic() + timeout_s
    while left := naming(folder):
        assert time.monotonic() < until, "still running:\n" + "\n".join(left)
        time.sleep(_POLL_S)


def _wait(process: Process, child: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + process.start_timeout_s
    while not process.ready():
        if child.poll() is not None:
            raise DidNotStart(f"{process.name} ended with {child.returncode}\n{_tail(log)}")
        if time.monotonic() > until:
            raise DidNotStart(f"{process.name} is not ready after {process.start_timeout_s:g} s\n{_tail(log)}")
        time.sleep(_POLL_S)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-30:])
