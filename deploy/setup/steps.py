"""The steps of the set-up: what each runs, and the stamps that tell which are done."""

import hashlib
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

TORCH_INDEX = "LOOPLINE_TORCH_INDEX"


@dataclass(frozen=True)
class Step:
    """One thing to install. It is done again when `key`, all that its result depends on, has changed."""

    name: str
    says: str
    commands: tuple[tuple[str, ...], ...]
    key: str
    env: Mapping[str, str] = field(default_factory=dict)


def steps(root: Path, torch_index: str) -> tuple[Step, ...]:
    """All steps in order; each needs those before it. `torch_index`: where torch comes from, "" as everything else."""
    python, labels = root / ".venv" / "bin" / "python", root / ".venv-label-studio" / "bin" / "python"
    pip = (str(python), "-m", "pip", "install", "--constraint", str(root / "constraints.txt"))
    pins = dict(line.split("==") for line in _lines(root / "constraints.txt"))
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    wanted = repr((project["project"], project["build-system"], _lines(root / "constraints.txt")))
    label_studio = root / "deploy" / "setup" / "label-studio.txt"
    empty = root / ".venv-label-studio" / "empty"
    return (
        Step(
            "environment",
            "the environment .venv",
            ((sys.executable, "-m", "venv", str(root / ".venv")),),
            sys.version,
        ),
        # By itself and first: it is the largest, and may come from elsewhere.
        Step(
            "torch",
            f"torch {pins['torch']}",
            ((*pip, *(("--index-url", torch_index, "--no-deps") if torch_index else ()), f"torch=={pins['torch']}"),),
            f"{pins['torch']} from {torch_index}",
        ),
        Step("packages", "MLflow, NATS and everything else", ((*pip, "--editable", f"{root}[all]"),), wanted),
        Step(
            "triton",
            f"Triton {pins['nvidia-pytriton']}",
            # Only the server in it is wanted: it pins numpy below 2.
            ((*pip, "--no-deps", f"nvidia-pytriton=={pins['nvidia-pytriton']}"),),
            pins["nvidia-pytriton"],
        ),
        Step(
            "label-studio",
            "Label Studio, in an environment of its own",
            (
                (sys.executable, "-m", "venv", str(root / ".venv-label-studio")),
                (str(labels), "-m", "pip", "install", "--requirement", str(label_studio)),
            ),
            repr(_lines(label_studio)),
        ),
        Step(
            "label-studio-database",
            "Label Studio's empty database",
            # Any command migrates the database first; a stack copies it and starts half a minute sooner.
            ((str(labels.with_name("label-studio")), "version"),),
            repr(_lines(label_studio)),
            {"LABEL_STUDIO_BASE_DATA_DIR": str(empty), "LABEL_STUDIO_SENTRY_DSN": "", "COLLECT_ANALYTICS": "False",
             "LABEL_STUDIO_LATEST_VERSION_CHECK": "False"},
        ),
    )  # fmt: skip


class Stamps:
    """Which steps are done: a file for each, with the digest of its key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def done(self, step: Step) -> bool:
        """Whether it was done as it is now."""
        path = self._folder / step.name
        return path.exists() and path.read_text("ascii") == _digest(step)

    def put(self, step: Step) -> None:
        """Remember that it is done."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f"{step.name}.{os.getpid()}"
        fresh.write_text(_digest(step), "ascii")
        fresh.replace(self._folder / step.name)


def _digest(step: Step) -> str:
    return hashlib.sha256(repr((step.commands, step.key)).encode()).hexdigest()


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
