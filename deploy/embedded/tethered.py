"""Runs a command that ends when its parent ends, however that was: `python tethered.py [--tree SECONDS] -- command…`.

Without `--tree` this process becomes the command, and the kernel kills it when the parent dies. With `--tree` it stays
as the parent of a server that has processes of its own, and leaves none of them behind; it does so twice, one within
the other, so that either of the two may be killed. Standard library only, to start in milliseconds with `python -I -S`.
"""

import ctypes
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

GRACE_S = 5.0
"""How long a tree may take to end after SIGTERM before it is killed."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.05
_STOPS = (signal.SIGTERM, signal.SIGINT)
_WAITED_FOR = (*_STOPS, signal.SIGCHLD)
_libc = ctypes.CDLL(None, use_errno=True)


def command(argv: tuple[str, ...], *, tree: bool, grace_s: float = GRACE_S) -> tuple[str, ...]:
    """`argv` as a command that ends with the process that starts it; a `tree` within `grace_s` of being told."""
    options = ("--tree", str(grace_s)) if tree else ()
    return (sys.executable, "-I", "-S", os.path.abspath(__file__), *options, "--", *argv)


def main(argv: list[str]) -> NoReturn:
    """Run what comes after `--`; exits as the command does (128 + n for signal n)."""
    at = argv.index("--")
    options, argv = argv[:at], argv[at + 1 :]
    if "--tree" not in options:
        _end_with_parent(signal.SIGKILL, os.getppid())
        _execute(argv)
    _end_with_parent(signal.SIGTERM, os.getppid())
    grace_s = float(options[options.index("--tree") + 1])
    inner = partial(_stay, partial(_execute, argv), signal.SIGKILL, grace_s)
    sys.exit(_stay(lambda: sys.exit(inner()), signal.SIGTERM, grace_s + 1))


def _stay(run: Callable[[], NoReturn], end_child_with: int, grace_s: float) -> int:
    """Be the parent of `run` until it and all that it started are gone; its exit code."""
    # Blocked and asked for, they cannot come at a wrong moment.
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    me = os.getpid()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        _end_with_parent(end_child_with, me)
        run()
    code: int | None = None
    told: set[int] = set()
    kill_at = math.inf
    while True:
        got = signal.sigwait(_WAITED_FOR) if kill_at == math.inf else _next_signal(_POLL_S)
        try:
            while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                if reaped[0] == child:
                    code = os.waitstatus_to_exitcode(reaped[1])
        except ChildProcessError:
            return 0 if code is None else code if code >= 0 else 128 - code
        if kill_at == math.inf and (code is not None or got in _STOPS):
            kill_at = time.monotonic() + grace_s
        if kill_at < math.inf:
            told |= _stop_children(told, kill=time.monotonic() > kill_at)


def _next_signal(timeout_s: float) -> int | None:
    info = signal.sigtimedwait(_WAITED_FOR, timeout_s)
    return info.si_signo if info else None


def _stop_children(told: set[int], *, kill: bool) -> set[int]:
    """Ask each child once to end, or kill them all. Orphaned descendants come to a subreaper as children."""
    children = set(_children())
    for pid in children if kill else children - told:
        # Not reaped yet, so the number is still its own.
        os.kill(pid, signal.SIGKILL if kill else signal.SIGTERM)
    return children


def _children() -> list[int]:
    me = os.getpid()
    with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def _execute(argv: list[str]) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error.strerror}\n")
        os._exit(127)


def _end_with_parent(number: int, parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, number)
    # The parent may have died before the kernel was told.
    if os.getppid() != parent or parent == 1:
        os._exit(128 + number)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


if __name__ == "__main__":
    main(sys.argv[1:])
