"""Runs a step with something to look at: its command's latest line and the seconds, and all of it in a log."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from deploy.embedded import tethered
from deploy.setup.steps import Step

_PIP = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off", "PIP_NO_INPUT": "1"}
_TICK_S = 1.0
_LINE_S = 20.0
_TAIL_LINES = 15


class StepFailed(Exception):
    """A command of a step ended with an error; the message has its last lines."""


def run(step: Step, root: Path) -> float:
    """Run the commands of a step; the seconds it took.

    Raises:
        StepFailed: one of them failed.
    """
    began = time.monotonic()
    log = root / "var" / "log" / f"setup-{step.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    _forget_torn_packages(step.environment)
    for command in step.commands:
        code = _show(command, step, log, began)
        if code:
            tail = "\n".join(f"    {line}" for line in log.read_text("utf-8", "replace").splitlines()[-_TAIL_LINES:])
            raise StepFailed(f"{' '.join(command[:5])} … ended with {code}. The end of {log}:\n{tail}")
    return time.monotonic() - began


def _forget_torn_packages(environment: Path) -> None:
    """Let pip install again what it was interrupted in: without this, all but the last file counts as whole."""
    for info in environment.glob("lib/python3.*/site-packages/*.dist-info"):
        if not (info / "RECORD").exists():
            shutil.rmtree(info)


def _show(command: tuple[str, ...], step: Step, log: Path, began: float) -> int:
    """Run one command and keep the terminal informed; its exit code."""
    latest = [""]
    with log.open("ab", buffering=0) as file:  # so that it can be followed
        child = subprocess.Popen(
            tethered.command(command, tree=False),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_PIP, "PYTHONUNBUFFERED": "1", **step.env},
        )
        reader = threading.Thread(target=_keep_lines, args=(child.stdout, file, latest))
        reader.start()
        try:
            _tell_while(reader, latest, began)
            return child.wait()
        except KeyboardInterrupt:
            child.kill()
            raise
        finally:
            reader.join()


def _keep_lines(output: IO[bytes], file: IO[bytes], latest: list[str]) -> None:
    for line in output:
        file.write(line)
        latest[0] = line.decode("utf-8", "replace").strip()


def _tell_while(reader: threading.Thread, latest: list[str], began: float) -> None:
    told = time.monotonic()
    while reader.is_alive():
        reader.join(_TICK_S)
        if sys.stdout.isatty():
            _repaint(f"      {time.monotonic() - began:4.0f} s  {latest[0]}")
        elif time.monotonic() - told > _LINE_S:
            told = time.monotonic()
            print(f"      {told - began:4.0f} s  {_cut(latest[0], 90)}", flush=True)
    if sys.stdout.isatty():
        _repaint("")


def _repaint(line: str) -> None:
    sys.stdout.write(f"\r\x1b[2K{_cut(line, shutil.get_terminal_size().columns - 1)}")
    sys.stdout.flush()


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"
