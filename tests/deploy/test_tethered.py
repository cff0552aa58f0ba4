"""What is tethered ends with its parent, and a tree leaves nobody behind, whichever of its processes is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.embedded import tethered
from tests.servers import eventually_gone, naming

pytestmark = pytest.mark.integration

GRACE_S = 0.5
# A parent and a child that both will not listen to SIGTERM: the hardest tree to get rid of.
_DEAF = (
    "import os, signal, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "os.fork()\n"
    "os.write(1, b'up\\n'); time.sleep(600)"
)


def started(folder: Path, *, tree: bool, program: str = _DEAF) -> "subprocess.Popen[bytes]":
    argv = tethered.command((sys.executable, "-c", program, str(folder)), tree=tree, grace_s=GRACE_S)
    child = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    assert child.stdout.readline() == b"up\n"
    return child


@pytest.mark.parametrize("which", ["outer", "inner", "server"])
def test_killing_any_process_of_a_tree_ends_the_whole_tree(tmp_path: Path, which: str) -> None:
    with started(tmp_path, tree=True) as outer:
        inner = psutil.Process(outer.pid).children()[0]
        victim = {"outer": outer.pid, "inner": inner.pid, "server": inner.children()[0].pid}[which]
        os.kill(victim, signal.SIGKILL)
        eventually_gone(tmp_path)


def test_a_tree_is_stopped_by_sigterm_although_it_does_not_listen(tmp_path: Path) -> None:
    with started(tmp_path, tree=True) as outer:
        outer.terminate()
        assert outer.wait(GRACE_S + 5) == 128 + signal.SIGKILL
    assert naming(tmp_path) == []


def test_a_single_process_dies_with_the_one_who_started_it(tmp_path: Path) -> None:
    starter = (
        "import os, subprocess, sys, time\n"
        "from deploy.embedded import tethered\n"
        "deaf = 'import signal, time; signal.signal(15, signal.SIG_IGN); print(\"up\", flush=True); time.sleep(600)'\n"
        "subprocess.Popen(tethered.command((sys.executable, '-c', deaf, sys.argv[1]), tree=False))\n"
        "os.write(1, b'up\\n'); time.sleep(600)"
    )
    root = Path(tethered.__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", starter, str(tmp_path)], stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline(), parent.stdout.readline()] == [b"up\n", b"up\n"]
        parent.kill()
    eventually_gone(tmp_path)


@pytest.mark.parametrize("tree", [False, True])
def test_the_exit_code_is_the_commands_own(tree: bool) -> None:
    assert subprocess.call(tethered.command((sys.executable, "-c", "raise SystemExit(7)"), tree=tree)) == 7


def test_a_command_that_is_not_there_is_named() -> None:
    argv = tethered.command(("/no/such/server",), tree=True)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, "cannot run /no/such/server: No such file or directory\n")
