"""The embedded stack of a test's own: everything in a folder of the test, on free ports."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from dotenv import dotenv_values

from services.chassis.settings import Settings

ROOT = Path(__file__).parents[2]


class Stack:
    """A running stack. `settings` point to it."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.env = {key: value or "" for key, value in dotenv_values(var / "loopline.env").items()}
        self.settings = Settings.model_validate(
            {key.removeprefix("LOOPLINE_").lower(): value for key, value in self.env.items()}
        )

    def process(self, service: str) -> psutil.Process | None:
        """The process of a service, such as `trainer`; None while there is none."""
        module = f"services.{service.replace('-', '_')}"
        for process in psutil.process_iter():
            try:
                if process.cmdline()[-2:] == ["-m", module] and process.environ().get("LOOPLINE_VAR") == str(self.var):
                    return process
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return None

    async def kill(self, service: str) -> int:
        """`kill -9`, in the middle of whatever it does. Returns the id of the process that was killed."""
        process = await asyncio.to_thread(self.process, service)
        assert process, f"{service} does not run"
        os.kill(process.pid, signal.SIGKILL)
        return process.pid

    def supervisor(self) -> psutil.Process:
        """The process whose children are the whole stack."""
        trainer = self.process("trainer")
        assert trainer
        return next(parent for parent in trainer.parents() if "supervisord" in " ".join(parent.cmdline()))

    def resident_mb(self, service: str) -> float:
        """Resident memory of a service without its children, in MB."""
        process = self.process(service)
        assert process, f"{service} does not run"
        return float(process.memory_info().rss) / 1e6


@contextmanager
def embedded_stack(var: Path) -> Iterator[Stack]:
    """Bring a stack up in `var`, and down again."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("LOOPLINE_")}
    env = {**own, "LOOPLINE_VAR": str(var)}
    command = [sys.executable, "-m", "deploy.embedded"]
    subprocess.run([*command, "up", "--detach"], cwd=ROOT, env=env, check=True, timeout=180)
    try:
        yield Stack(var)
    finally:
        subprocess.run([*command, "down"], cwd=ROOT, env=env, check=True, timeout=60)
