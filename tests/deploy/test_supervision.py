"""The stack comes up in order, comes back, and leaves no process behind, whoever is killed. All of it real."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.embedded.commands import clean, down, status
from deploy.embedded.given import BadSetting
from deploy.embedded.servers import ROOT
from deploy.embedded.supervision import Supervisor
from tests.deploy import stand_ins
from tests.servers import eventually_gone, naming

pytestmark = pytest.mark.integration

TIMEOUT_S = 20


def bring_up(var: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        (sys.executable, "-m", stand_ins.__name__, str(var), *options),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def wait_for_line(launcher: "subprocess.Popen[str]", text: str) -> None:
    assert launcher.stdout is not None
    for line in launcher.stdout:
        if text in line:
            return
    raise AssertionError(f"ended without saying {text!r}")


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "var of a long name, so that its socket has to live elsewhere, and with spaces"
    yield folder
    down(folder)
    eventually_gone(folder)


def test_a_detached_stack_runs_until_it_is_told_to_stop(var: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launcher = bring_up(var, "--detach")
    said, complained = launcher.communicate(timeout=TIMEOUT_S)
    assert launcher.returncode == 0, complained
    order = [line.split()[0] for line in said.splitlines() if " after " in line and line.startswith("  ")]
    assert order[0] == "nats"
    assert set(order[-2:]) == {"trainer", "registry"}
    assert "http://127.0.0.1:1  a note" in said
    assert "hush" not in said

    assert status(var, as_json=True) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["mlflow", "nats", "registry", "trainer"]
    assert all(row["pid"] and row["state"] in ("STARTING", "RUNNING") for row in rows)
    assert all(row["url"].startswith("http://127.0.0.1:") for row in rows)

    again = bring_up(var, "--detach")
    assert "running already" in again.communicate(timeout=TIMEOUT_S)[0]
    assert again.returncode == 0

    assert down(var) == 0
    assert naming(var) == []
    assert status(var, as_json=False) == 1


def test_what_holds_passwords_is_for_its_owner_only(var: Path) -> None:
    bring_up(var, "--detach").communicate(timeout=TIMEOUT_S)
    holding = [path for path in var.rglob("*") if path.is_file() and "hush" in path.read_text("utf-8", "replace")]
    assert {path.name for path in holding} == {"supervisord.conf", "loopline.env"}
    assert {path.stat().st_mode & 0o077 for path in holding} == {0}


def test_a_killed_process_comes_back(var: Path) -> None:
    bring_up(var, "--detach").communicate(timeout=TIMEOUT_S)
    supervisor = Supervisor(var)
    for name in ("trainer", "mlflow"):
        before = supervisor.look()[name].pid
        os.kill(before, signal.SIGKILL)
        eventually(lambda: supervisor.look()[name].pid not in (0, before))  # noqa: B023
        eventually(lambda: supervisor.look()[name].state == "RUNNING")  # noqa: B023


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_everything_ends_with_the_one_who_waits_for_it(var: Path, number: int, code: int) -> None:
    with bring_up(var) as launcher:
        wait_for_line(launcher, "Ctrl-C stops it")
        assert len(naming(var)) > 5
        launcher.send_signal(number)
        launcher.communicate(timeout=TIMEOUT_S)
    assert launcher.returncode == code
    eventually_gone(var)


def test_everything_ends_when_the_launcher_is_killed_in_the_middle(var: Path) -> None:
    with bring_up(var, "--detach", "--broken", "hang") as launcher:
        wait_for_line(launcher, "registry ready")
        launcher.kill()
        launcher.communicate(timeout=TIMEOUT_S)
    eventually_gone(var)


@pytest.mark.parametrize("options", [(), ("--detach",)])
def test_everything_ends_when_supervisord_is_killed(var: Path, options: tuple[str, ...]) -> None:
    with bring_up(var, *options) as launcher:
        wait_for_line(launcher, "Stop ")
        os.kill(Supervisor(var).pid(), signal.SIGKILL)
        _, complained = launcher.communicate(timeout=TIMEOUT_S)
    eventually_gone(var)
    if not options:
        assert launcher.returncode == 1
        assert "supervisord ended by itself" in complained
    again = bring_up(var, "--detach")
    assert again.wait(TIMEOUT_S) == 0, "what it left behind is in the way"


def test_down_ends_the_one_who_waits_as_well(var: Path) -> None:
    with bring_up(var) as launcher:
        wait_for_line(launcher, "Ctrl-C stops it")
        assert down(var) == 0
        said, _ = launcher.communicate(timeout=TIMEOUT_S)
    assert (launcher.returncode, said) == (0, "Loopline was stopped.\n")


def test_a_second_up_says_who_is_starting_it(var: Path) -> None:
    with bring_up(var, "--broken", "hang") as first:
        wait_for_line(first, "registry ready")
        second = bring_up(var)
        _, complained = second.communicate(timeout=TIMEOUT_S)
        assert (second.returncode, f"by process {first.pid}" in complained) == (1, True)
        assert down(var) == 0
        _, complained = first.communicate(timeout=TIMEOUT_S)
    assert (first.returncode, complained) == (1, "error: Loopline was stopped while it was starting.\n")


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [("fail", "trainer ended while it was starting"), ("once", "provisioner ended with 3")],
)
def test_what_does_not_come_up_is_named_with_its_last_words(var: Path, broken: str, complaint: str) -> None:
    launcher = bring_up(var, "--detach", "--broken", broken)
    _, complained = launcher.communicate(timeout=TIMEOUT_S)
    assert launcher.returncode == 1
    assert complaint in complained
    assert "no such model" in complained
    eventually_gone(var)


def test_what_is_not_ready_in_time_is_named(var: Path) -> None:
    launcher = bring_up(var, "--detach", "--broken", "hang")
    _, complained = launcher.communicate(timeout=TIMEOUT_S + 10)
    assert launcher.returncode == 1
    assert "trainer is not ready after 5 s" in complained


def test_clean_stops_and_deletes(var: Path) -> None:
    bring_up(var, "--detach").communicate(timeout=TIMEOUT_S)
    assert clean(var) == 0
    assert not var.exists()
    assert clean(var) == 0


def test_clean_deletes_nothing_that_the_stack_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("…")
    for folder in (tmp_path, ROOT, Path.home()):
        with pytest.raises(BadSetting, match="was not made by the embedded stack"):
            clean(folder)
    assert (tmp_path / "thesis.tex").exists()
