"""`taskw` finds a go-task 3, or says which package is missing; and a signal sent to it reaches what it runs."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.embedded.servers import ROOT

GO_TASK = 'case "$1" in --version) echo 3.54.0 ;; --help) echo "Runs tasks of a Taskfile" ;; *) echo "$0" "$@" ;; esac'
TASKWARRIOR = 'case "$1" in --version) echo 3.1.0 ;; --help) echo "Usage: task <filter> <command>" ;; *) exit 9 ;; esac'
PYTHON = f'exec {sys.executable} "$@"'
PYTHON_WITHOUT_ENSUREPIP = f'case "$*" in *ensurepip*) exit 1 ;; *) {PYTHON} ;; esac'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout of just what taskw needs."""
    root = tmp_path / "a check out"
    for name in ("taskw", "deploy/setup/forwarding.py", "deploy/embedded/tethered.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return root


def command(path: Path, script: str) -> None:
    """A stand-in for a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def taskw(project: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    found = {"PATH": f"{project}/found:/usr/bin:/bin", "HOME": str(project), **env}
    return subprocess.run(
        [project / "taskw", *arguments], cwd="/", env=found, capture_output=True, text=True, check=False, timeout=60
    )


def programs(project: Path, found: Mapping[str, str]) -> None:
    for name, script in found.items():
        command(project / "found" / name, script)


def test_a_go_task_on_the_path_is_used_from_any_folder(project: Path) -> None:
    programs(project, {"task": GO_TASK, "python3.11": PYTHON})
    done = taskw(project, "demo", "KEEP=1")
    assert done.stdout == f"{project}/found/task --exit-code --dir {project} demo KEEP=1\n"


def test_taskwarrior_is_left_alone(project: Path) -> None:
    programs(project, {"task": TASKWARRIOR, "python3.11": PYTHON})
    command(project / ".venv" / "bin" / "task", GO_TASK)
    assert taskw(project, "up").stdout == f"{project}/.venv/bin/task --exit-code --dir {project} up\n"


def test_the_package_is_named_where_python_cannot_make_environments(project: Path) -> None:
    programs(project, {"task": TASKWARRIOR, "python3.11": PYTHON_WITHOUT_ENSUREPIP})
    done = taskw(project, "demo")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"apt install python{sys.version_info.major}.{sys.version_info.minor}-venv" in done.stderr
    assert not (project / ".venv").exists()


def test_the_python_that_is_needed_is_named_where_there_is_none(project: Path) -> None:
    programs(project, {"task": GO_TASK, "too-old": "exit 1"})
    done = taskw(project, "demo", LOOPLINE_PYTHON="too-old")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr


def test_the_exit_code_is_the_tasks_own(project: Path) -> None:
    programs(project, {"task": f"{GO_TASK}\nexit 7", "python3.11": PYTHON})
    assert taskw(project, "test").returncode == 7


@pytest.mark.integration
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 3), (signal.SIGTERM, 3), (signal.SIGKILL, -9)])
def test_a_signal_to_taskw_reaches_what_go_task_runs(project: Path, number: int, code: int) -> None:
    ready = project / "ready"
    os.mkfifo(ready)
    program = project / "long.py"
    program.write_text(
        "import signal, sys, time\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, lambda *_: sys.exit(3))\n"
        "open('ready', 'w').close()\n"
        "time.sleep(600)\n"
    )
    (project / "Taskfile.yml").write_text(
        "version: '3'\ntasks:\n  long:\n    cmds:\n"
        f"      - {sys.executable} deploy/embedded/tethered.py -- {sys.executable} long.py\n"
    )
    programs(project, {"task": f'exec {Path(sys.executable).with_name("task")} "$@"', "python3.11": PYTHON})
    env = {**os.environ, "PATH": f"{project}/found:/usr/bin:/bin"}
    with subprocess.Popen(
        [project / "taskw", "long"], env=env, stderr=subprocess.PIPE, start_new_session=True
    ) as child:
        ready.read_bytes()
        child.send_signal(number)
        # The pipe closes only when the last of them has ended.
        child.communicate(timeout=20)
    assert child.returncode == code
