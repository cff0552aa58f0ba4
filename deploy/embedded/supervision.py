"""The supervisord of a var folder: starting it, and asking it over a private socket."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from deploy.embedded.configuration import SERVERS, STOP_S, configuration
from deploy.embedded.servers import ROOT, Process, write_private
from deploy.embedded.stack import Stack
from deploy.embedded.supervised import LET_GO

_KILL_S = sum(STOP_S.values()) + 5
_POLL_S = 0.1
_SOCKET_PATH_BYTES = 80  # the kernel takes 107, and supervisord makes a longer name beside it first


class NotRunning(Exception):
    """No supervisord answers for this folder, or it is just stopping."""


class DidNotStart(Exception):
    """Something did not come up; the message says what, and the end of its log."""


@dataclass(frozen=True)
class Running:
    """A process as supervisord sees it. `start` and `now` are seconds since 1970 by its clock."""

    name: str
    group: str
    state: str
    pid: int
    start: int
    now: int

    @property
    def rss_bytes(self) -> int:
        """Memory of the process and all of its descendants."""
        if not self.pid:
            return 0
        try:
            process = psutil.Process(self.pid)
            return sum(part.memory_info().rss for part in (process, *process.children(recursive=True)))
        except psutil.NoSuchProcess:
            return 0  # it ended since


class Supervisor:
    """The supervisord of one var folder, whether it runs or not."""

    def __init__(self, var: Path) -> None:
        self._folder = var / "embedded"
        self._log = var / "log"
        self._socket = _socket(self._folder)
        self._transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        self._proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=self._transport)
        self._started: subprocess.Popen[bytes] | None = None

    def start(self, stack: Stack) -> None:
        """Start supervisord, which runs nothing yet, and ends with this process.

        Raises:
            DidNotStart: it says why.
        """
        self._log.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / "supervisord.conf"
        write_private(path, configuration(stack, self._folder, self._log, self._socket))
        said = self._log / "supervisord.out"
        with said.open("wb") as output:
            self._started = subprocess.Popen(
                (sys.executable, "-m", "deploy.embedded.supervised", "--nodaemon", "--silent", "-c", str(path)),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the one who waits, and stops things in order
            )
        while not self.answers():
            if self._started.poll() is not None:
                raise DidNotStart(f"supervisord ended:\n{said.read_text('utf-8', 'replace')}")
            time.sleep(_POLL_S)

    def ended(self) -> bool:
        """Whether the supervisord that `start` started is gone."""
        return self._started is not None and self._started.poll() is not None

    def let_go(self) -> None:
        """From now on it lives on when this process ends."""
        if self._started and self._started.stdin:
            self._started.stdin.write(LET_GO)
            self._started.stdin.close()

    def answers(self) -> bool:
        """Whether it runs."""
        try:
            self._ask("getState")
        except NotRunning:
            return False
        return True

    def pid(self) -> int:
        """Of supervisord itself. Raises NotRunning."""
        return int(self._ask("getPID"))

    def run(self, group: str, process: Process) -> None:
        """Start a process, without waiting for it. Raises NotRunning."""
        self._ask("startProcess", f"{group}:{process.name}", False)

    def look(self) -> dict[str, Running]:
        """Every process by name, in that order, servers first. Raises NotRunning."""
        rows = self._ask("getAllProcessInfo")
        return {row["name"]: _running(row) for row in sorted(rows, key=lambda row: str(row["group"]) != SERVERS)}

    def stop(self) -> float:
        """Stop every process and supervisord itself; the seconds that took. Raises NotRunning when nothing runs."""
        began = time.monotonic()
        pid = self.pid()
        with contextlib.suppress(NotRunning):  # it is stopping already
            self._ask("shutdown")
        self._transport.close()
        while _alive(pid) and not self.ended():
            if time.monotonic() - began > _KILL_S:
                os.kill(pid, signal.SIGKILL)  # what it ran is tethered to it
            time.sleep(_POLL_S)
        if self._socket.parent != self._folder:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._socket.parent)
        return time.monotonic() - began

    def _ask(self, method: str, *arguments: object) -> Any:
        try:
            return getattr(self._proxy.supervisor, method)(*arguments)
        except (OSError, HTTPException) as error:
            self._transport.close()
            raise NotRunning(f"no supervisord answers on {self._socket}") from error
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == Faults.SHUTDOWN_STATE:
                raise NotRunning("supervisord is stopping") from fault
            raise


def _running(row: dict[str, Any]) -> Running:
    return Running(row["name"], row["group"], row["statename"], row["pid"], row["start"], row["now"])


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _socket(folder: Path) -> Path:
    """In the folder itself, or where that is too deep for a socket, in one under the temporary folder."""
    path = folder / "supervisor.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"loopline-{os.getuid()}-{digest}" / "supervisor.sock"
