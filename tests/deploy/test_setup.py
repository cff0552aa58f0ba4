"""The set-up does what is not done, goes on after an interruption, and says what is missing and what went wrong."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded.servers import ROOT
from deploy.setup import __main__ as setup
from deploy.setup import machine
from deploy.setup.running import StepFailed, run
from deploy.setup.steps import Step, done, mark_done, steps
from tests.servers import eventually_gone


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout of just what the steps are made from."""
    for name in ("pyproject.toml", "constraints.txt", "deploy/setup/label-studio.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def step(folder: Path, *program: str) -> Step:
    commands = tuple((sys.executable, "-c", text) for text in program)
    return Step("packages", "something", folder / ".venv", commands, key="1")


def undone(project: Path) -> set[str]:
    return {each.name for each in steps(project, "") if not done(each)}


def test_what_is_done_is_not_done_again_until_something_changes(project: Path) -> None:
    for each in steps(project, ""):
        mark_done(each)
    assert undone(project) == set()

    with (project / "constraints.txt").open("a") as constraints:
        constraints.write("one-more==1.0\n")
    assert undone(project) == {"packages"}
    (project / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + "\n[tool.other]\n")
    assert undone(project) == {"packages"}
    assert {each.name for each in steps(project, "https://cpu") if not done(each)} == {"torch", "packages"}

    shutil.rmtree(project / ".venv-label-studio")
    assert undone(project) == {"packages", "label-studio", "label-studio-database"}


def test_torch_comes_alone_from_an_index_of_its_own(project: Path) -> None:
    by_name = {each.name: each for each in steps(project, "https://cpu.example/whl")}
    assert "--no-deps" in by_name["torch"].commands[0]
    naming_it = [each.name for each in by_name.values() if "https://cpu.example/whl" in str(each.commands)]
    assert naming_it == ["torch"]


def test_a_failed_step_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"(?s)ended with 1.*setup-packages\.log.*no such package"):
        run(step(tmp_path, "print('fine')", "raise SystemExit('no such package')"), tmp_path)


def test_an_interruption_ends_what_the_step_was_running(tmp_path: Path) -> None:
    """Ctrl-C that reaches the set-up alone, as when a program sends it."""
    program = (
        "import sys; from pathlib import Path\n"
        "from deploy.setup.running import run; from deploy.setup.steps import Step\n"
        "long = (sys.executable, '-u', '-c', 'import time; print(1); time.sleep(600)', sys.argv[1])\n"
        "run(Step('packages', '', Path(sys.argv[1]), (long,), ''), Path(sys.argv[1]))"
    )
    log = tmp_path / "var" / "log" / "setup-packages.log"
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE) as child:
        # Not before it waits for what the step prints: in the midst of starting that, another exception may come of it.
        while not log.exists() or not log.read_text().endswith("1\n"):
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        _, complained = child.communicate(timeout=20)
    assert complained.rstrip().endswith(b"KeyboardInterrupt")
    eventually_gone(tmp_path)


def test_a_package_that_an_interruption_has_torn_is_installed_again(tmp_path: Path) -> None:
    packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    for name in ("whole", "torn"):
        (packages / f"{name}-1.0.dist-info").mkdir(parents=True)
    (packages / "whole-1.0.dist-info" / "RECORD").touch()
    run(step(tmp_path), tmp_path)
    assert [path.name for path in packages.iterdir()] == ["whole-1.0.dist-info"]


def test_an_interrupted_step_is_named_and_the_steps_before_it_stay_done(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = step(project, "pass"), replace(step(project, "pass"), name="torch")

    def interrupted(each: Step, root: Path) -> float:
        if each is second:
            raise KeyboardInterrupt
        return run(each, root)

    monkeypatch.setattr(setup, "ROOT", project)
    monkeypatch.setattr(setup, "run", interrupted)
    assert setup._install((first, second), "") == 130
    assert (done(first), done(second)) == (True, False)
    said = capsys.readouterr()
    assert "goes on with this step" in said.err
    for told in ("Time", "Disk", "Memory", "CUDA build", "LOOPLINE_TORCH_INDEX="):
        assert told in said.out


def test_parts_of_python_that_debian_leaves_out_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda name: None if name == "ensurepip" else name)
    monkeypatch.setattr(machine, "has_shared_python", lambda version: False)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert any(f"apt install python{version}-venv libpython{version}" in lack for lack in machine.lacks(tmp_path))


def test_a_full_disk_is_noticed_before_anything_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "NEEDED_DISK_BYTES", 2**60)
    assert any("GB are free" in lack for lack in machine.lacks(tmp_path))


def test_this_machine_lacks_nothing() -> None:
    assert machine.lacks(ROOT) == []


def test_the_set_up_needs_nothing_but_python() -> None:
    """It runs before anything is installed: so no site-packages, and no folder but its own."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import deploy.setup.__main__"
    subprocess.run([sys.executable, "-I", "-S", "-c", code, str(ROOT)], check=True)
