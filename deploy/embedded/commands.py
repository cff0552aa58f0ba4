"""What a person can ask of the embedded stack, with what it prints and its exit codes."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from deploy.embedded.given import BadSetting
from deploy.embedded.launch import launch
from deploy.embedded.servers import ROOT, write_private
from deploy.embedded.stack import Place, Stack
from deploy.embedded.supervision import DidNotStart, NotRunning, Supervisor

_POLL_S = 0.3


class _Interrupted(BaseException):
    """Ctrl-C, SIGTERM, or the terminal was closed."""


def up(make: Callable[[], Stack], var: Path, *, detach: bool) -> int:
    """Start the stack that `make` describes, wait until it is ready, and then for its end unless `detach`.

    0 when it was started (or ran already), 1 when something did not come up or it ended by itself.
    """
    supervisor = Supervisor(var)
    with _alone(var) as other:
        if supervisor.answers() and _ready_file(var).exists():
            _say("Loopline is running already.")
            _show_places(_recorded(var), var)
            return 0
        if other:
            _fail(f"Loopline is being started by process {other}: wait for it, or stop it with ./taskw down")
            return 1
        if supervisor.answers():
            # Its starter is gone without having finished.
            supervisor.stop()
        return _up(make(), var, supervisor, detach=detach)


def _up(stack: Stack, var: Path, supervisor: Supervisor, *, detach: bool) -> int:
    began = time.monotonic()
    _ready_file(var).unlink(missing_ok=True)
    with _interruptible():
        try:
            _say(f"Starting Loopline (data and logs in {_short(var)}):")
            launch(stack, var, supervisor, _say)
            _record(stack, var)
            _say(f"Loopline is up after {time.monotonic() - began:.0f} s.")
            _show_places(stack.places, var)
            if detach:
                supervisor.let_go()
                return 0
            _say("Ctrl-C stops it.")
            return _watch(var, supervisor)
        except _Interrupted:
            _stop(var, supervisor)
            return 130
        except DidNotStart as error:
            _fail(str(error))
            _stop(var, supervisor)
            return 1
        except NotRunning:
            _fail("Loopline was stopped while it was starting.")
            return 1


def _watch(var: Path, supervisor: Supervisor) -> int:
    while not supervisor.ended():
        time.sleep(_POLL_S)
    asked = not _ready_file(var).exists()  # `down` takes it away before it stops anything
    _ready_file(var).unlink(missing_ok=True)
    if asked:
        _say("Loopline was stopped.")
        return 0
    _fail(f"supervisord ended by itself, and everything with it; see {_short(var / 'log' / 'supervisord.log')}")
    return 1


def down(var: Path) -> int:
    """Stop the stack; 0 also when nothing runs."""
    supervisor = Supervisor(var)
    if not supervisor.answers():
        _say("Loopline is not running.")
        return 0
    _stop(var, supervisor)
    return 0


def _stop(var: Path, supervisor: Supervisor) -> None:
    _say("Stopping Loopline …")
    _ready_file(var).unlink(missing_ok=True)
    try:
        _say(f"Stopped after {supervisor.stop():.0f} s.")
    except NotRunning:
        _say("Stopped.")


def status(var: Path, *, as_json: bool) -> int:
    """Show what runs; 1 when nothing does."""
    try:
        seen = Supervisor(var).look().values()
    except NotRunning:
        print("[]" if as_json else "Loopline is not running: ./taskw up")
        return 1
    urls = _recorded_urls(var)
    if as_json:
        rows = [{**asdict(row), "rss_bytes": row.rss_bytes, "url": urls.get(row.name, "")} for row in seen]
        print(json.dumps(rows, indent=2))
        return 0
    for row in seen:
        for_s = row.now - row.start if row.pid else 0
        print(f"  {row.name:14} {row.state.lower():9} {row.pid or '':>8} {for_s:>7} s {row.rss_bytes / 2**20:>7.0f} MB")
    _show_places(_recorded(var), var)
    return 0


def clean(var: Path) -> int:
    """Stop the stack and delete its folder, with all labels, models and logs in it; says so, asks nothing.

    Raises:
        BadSetting: that folder was not made by the stack.
    """
    if not var.exists():
        _say(f"{_short(var)} is not there: nothing to clean.")
        return 0
    if var in (ROOT, *ROOT.parents, Path.home()) or not (var == ROOT / "var" or (var / "embedded").is_dir()):
        raise BadSetting(f"{var} was not made by the embedded stack: delete it yourself if you mean to")
    down(var)
    size = sum(path.lstat().st_size for path in var.rglob("*") if path.is_file())
    _say(f"Deleting {_short(var)}: {size / 2**20:.0f} MB of labels, models, runs, messages, logs and passwords.")
    shutil.rmtree(var)
    return 0


@contextlib.contextmanager
def _alone(var: Path) -> Iterator[int | None]:
    """Hold the folder's lock; gives the process that holds it already, if one does."""
    folder = var / "embedded"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            yield int(file.read() or 1)
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield None


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Turn the first signal that would end the program into an exception; while it is handled, others do nothing."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise _Interrupted

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ready_file(var: Path) -> Path:
    return var / "embedded" / "ready.json"


def _record(stack: Stack, var: Path) -> None:
    told = {
        "places": [asdict(place) for place in stack.places],
        "urls": {process.name: process.url for process in stack.processes if process.url},
    }
    write_private(_ready_file(var), json.dumps(told, indent=2))


def _recorded(var: Path) -> tuple[Place, ...]:
    return tuple(Place(**place) for place in _told(var).get("places", []))


def _recorded_urls(var: Path) -> dict[str, str]:
    return dict(_told(var).get("urls", {}))


def _told(var: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_ready_file(var).read_text("utf-8")))
    except FileNotFoundError:
        return {}  # it is just being started


def _show_places(places: tuple[Place, ...], var: Path) -> None:
    width = max((len(place.url) for place in places), default=0)
    for place in places:
        _say(f"  {place.name:14} {place.url:{width}}  {place.note}".rstrip())
    _say(f"  {'Logs':14} {_short(var / 'log')}")
    _say(f"  {'Stop':14} ./taskw down")


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _say(line: str) -> None:
    print(line, flush=True)


def _fail(line: str) -> None:
    print(f"error: {line}", file=sys.stderr, flush=True)
