"""`python3 -m deploy.setup`: says what it will take, does what is not done yet, and can be interrupted at any time."""

import fcntl
import os
import sys
from pathlib import Path

from deploy.setup import machine
from deploy.setup.running import StepFailed, run
from deploy.setup.steps import Step, done, mark_done, steps

ROOT = Path(__file__).resolve().parents[2]
MINUTES = "3 to 8"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


def main() -> int:
    """0 when everything is installed, 1 when a step failed, 2 when this machine lacks something."""
    torch_index = os.environ.get("LOOPLINE_TORCH_INDEX", "")
    plan = steps(ROOT, torch_index)
    if all(map(done, plan)):
        return 0
    if lacks := machine.lacks(ROOT):
        print("Loopline cannot be set up here yet:", *lacks, sep="\n  - ", file=sys.stderr)
        return 2
    lock_file = ROOT / "var" / "setup.lock"
    lock_file.parent.mkdir(mode=0o700, exist_ok=True)
    with lock_file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up is running here: waiting for it …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return _install(plan, torch_index)


def _install(plan: tuple[Step, ...], torch_index: str) -> int:
    todo = [step for step in plan if not done(step)]
    if todo:
        print(_announcement(plan, todo, torch_index), flush=True)
    for number, step in enumerate(plan, 1):
        if step not in todo:
            continue
        print(f"  {number}/{len(plan)}  {step.says}", flush=True)
        try:
            took_s = run(step, ROOT)
        except StepFailed as error:
            print(f"error: {error}\nMend it and say ./taskw setup again: what is done stays done.", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nInterrupted. ./taskw setup goes on with this step: what is done stays done.", file=sys.stderr)
            return 130
        mark_done(step)
        print(f"      done in {took_s:.0f} s", flush=True)
    return 0


def _announcement(plan: tuple[Step, ...], todo: list[Step], torch_index: str) -> str:
    names = {step.name for step in todo}
    if not names & {"torch", "packages", "label-studio"}:
        return "Finishing the set-up:"
    head = (
        "Setting Loopline up, once: two environments in this folder, .venv and .venv-label-studio."
        if len(todo) == len(plan)
        else f"Going on with the set-up: {len(plan) - len(todo)} of {len(plan)} steps are done."
    )
    gib = 2**30
    lines = [
        head,
        f"  Time    {MINUTES} minutes with a fast line and a CPU build of torch",
        f"  Disk    {machine.NEEDED_DISK_BYTES / gib:.0f} GB,"
        f" with a CUDA build {machine.WITH_CUDA_DISK_BYTES / gib:.0f} GB",
        f"  Memory  {machine.NEEDED_MEMORY_BYTES / gib:.0f} GB to run the whole stack;"
        f" this machine has {machine.memory_bytes() / gib:.0f}",
    ]
    if "torch" in names:
        lines += (
            [f"  Torch   from {torch_index} (LOOPLINE_TORCH_INDEX)"]
            if torch_index
            else [
                "  Torch   from your package index: on most Linux machines PyPI's is the CUDA build, several GB.",
                f"          For the CPU build: Ctrl-C, then LOOPLINE_TORCH_INDEX={CPU_WHEELS} ./taskw setup",
            ]
        )
    return "\n".join([*lines, "  Ctrl-C stops it at any time; the next set-up goes on where this one stopped."])


if __name__ == "__main__":
    sys.exit(main())
