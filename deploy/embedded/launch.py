"""Bringing the stack up, one stage after the other, and saying so."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from deploy.embedded import tethered
from deploy.embedded.configuration import SERVERS, SERVICES
from deploy.embedded.servers import ROOT, Process, write_private
from deploy.embedded.stack import Stack, environment_file
from deploy.embedded.supervision import DidNotStart, Supervisor

Say = Callable[[str], None]

_POLL_S = 0.2
_STILL_S = 15.0
_TAIL_LINES = 25
_FAILED = ("BACKOFF", "EXITED", "FATAL", "UNKNOWN")


def settings_file(var: Path) -> Path:
    """The settings of the running stack, which the command line and the services read."""
    return var / "loopline.env"


def launch(stack: Stack, var: Path, supervisor: Supervisor, say: Say) -> None:
    """Start everything in order and return when all of it is ready.

    Raises:
        DidNotStart: something ended, or was not ready in time. The rest still runs.
        supervision.NotRunning: somebody stopped it meanwhile.
    """
    write_private(settings_file(var), environment_file(stack.settings))
    supervisor.start(stack)
    for process in stack.servers:
        supervisor.run(SERVERS, process)
    # The others take their time, and what comes once needs only the bus.
    _wait([process for process in stack.servers if process.name == "nats"], var, supervisor, say)
    for process in stack.once:
        _run_once(process, var, say)
    _wait([process for process in stack.servers if process.name != "nats"], var, supervisor, say)
    for process in stack.services:
        supervisor.run(SERVICES, process)
    _wait(stack.services, var, supervisor, say)


def _wait(processes: Iterable[Process], var: Path, supervisor: Supervisor, say: Say) -> None:
    """Until all are ready, saying each as it comes, and who is still awaited every quarter of a minute."""
    waiting = {process.name: process for process in processes}
    began = said = time.monotonic()
    first_start = {name: running.start for name, running in supervisor.look().items()}
    while waiting:
        seen = supervisor.look()
        for name, process in list(waiting.items()):
            now = seen[name]
            waited_s = time.monotonic() - began
            if now.state in _FAILED or now.start > (first_start[name] or now.start):
                raise DidNotStart(f"{name} ended while it was starting.{_tail(var, name)}")
            if process.ready():
                say(f"  {name} ready after {max(now.now - now.start, waited_s):.0f} s")
                del waiting[name]
            elif waited_s > process.start_timeout_s:
                raise DidNotStart(f"{name} is not ready after {waited_s:.0f} s.{_tail(var, name)}")
            first_start[name] = first_start[name] or now.start
        if waiting and time.monotonic() - said > _STILL_S:
            said = time.monotonic()
            say(f"  … still waiting for {', '.join(waiting)} ({said - began:.0f} s)")
        if waiting:
            time.sleep(_POLL_S)


def _run_once(process: Process, var: Path, say: Say) -> None:
    """Run it to its end, here."""
    began = time.monotonic()
    with (var / "log" / f"{process.name}.log").open("ab") as log:
        try:
            code = subprocess.call(
                tethered.command(process.command, tree=False),
                cwd=ROOT,
                env={**os.environ, **process.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=process.start_timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise DidNotStart(
                f"{process.name} has not ended after {process.start_timeout_s:g} s.{_tail(var, process.name)}"
            ) from None
    if code:
        raise DidNotStart(f"{process.name} ended with {code}.{_tail(var, process.name)}")
    say(f"  {process.name} done after {time.monotonic() - began:.0f} s")


def _tail(var: Path, name: str) -> str:
    path = var / "log" / f"{name}.log"
    lines = path.read_text("utf-8", "replace").splitlines()[-_TAIL_LINES:] if path.exists() else []
    return f" The end of {path}:\n" + "\n".join(f"    {line}" for line in lines)
