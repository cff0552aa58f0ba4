"""Runs go-task so that a signal sent to it reaches what it runs: `python forwarding.py task…`; standard library only.

go-task counts on the terminal, whose Ctrl-C reaches every process of the group, and does nothing with the first two
signals that are sent to it alone, by `kill` or by a program that started it.
"""

import os
import signal
import sys

_WAITED_FOR = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
_SI_KERNEL = 0x80
_FORCE = 3


def main(argv: list[str]) -> int:
    """Run a command to its end; its exit code (128 + n for signal n)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)
        os.execv(argv[0], argv)
    while True:
        got = signal.sigwaitinfo(_WAITED_FOR)
        if got.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        elif got.si_code != _SI_KERNEL:  # from the terminal it has reached the others already
            running = _children(child)
            for pid in running or [child] * _FORCE:
                os.kill(pid, got.si_signo)


def _children(pid: int) -> list[int]:
    """Of every thread of a process, since the kernel lists them by thread."""
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
            found += map(int, file.read().split())
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
