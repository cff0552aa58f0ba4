"""The steps of the set-up: what each runs, and the stamps that tell which are done."""

import hashlib
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Nothing is sent to anyone, and nothing is asked of the internet.
QUIET_LABEL_STUDIO = {
    "LABEL_STUDIO_COLLECT_ANALYTICS": "False",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "False",
    "LABEL_STUDIO_SENTRY_DSN": "",
    "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
}


@dataclass(frozen=True)
class Step:
    """One thing to install into `environment`. Done again when `key`, all that its result depends on, has changed."""

    name: str
    says: str
    environment: Path
    commands: tuple[tuple[str, ...], ...]
    key: str
    env: Mapping[str, str] = field(default_factory=dict)


def steps(root: Path, torch_index: str) -> tuple[Step, ...]:
    """All steps in order; each needs those before it. `torch_index`: where torch comes from, "" as everything else."""
    ours, theirs = root / ".venv", root / ".venv-label-studio"
    pip = (str(ours / "bin" / "python"), "-m", "pip", "install", "--constraint", str(root / "constraints.txt"))
    pins = dict(line.split("==") for line in _lines(root / "constraints.txt"))
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    wanted = repr((project["project"], project["build-system"], _lines(root / "constraints.txt")))
    label_studio = root / "deploy" / "setup" / "label-studio.txt"
    return (
        Step(
            "environment",
            "the environment .venv",
            ours,
            ((sys.executable, "-m", "venv", str(ours)),),
            sys.version,
        ),
        # By itself and first: it is the largest, and may come from elsewhere.
        Step(
            "torch",
            f"torch {pins['torch']}",
            ours,
            ((*pip, *(("--index-url", torch_index, "--no-deps") if torch_index else ()), f"torch=={pins['torch']}"),),
            f"{pins['torch']} from {torch_index}",
        ),
        Step("packages", "MLflow, NATS and everything else", ours, ((*pip, "--editable", f"{root}[all]"),), wanted),
        Step(
            "triton",
            f"Triton (nvidia-pytriton {pins['nvidia-pytriton']})",
            ours,
            # Only the server in it is wanted: it pins numpy below 2.
            ((*pip, "--no-deps", f"nvidia-pytriton=={pins['nvidia-pytriton']}"),),
            pins["nvidia-pytriton"],
        ),
        Step(
            "label-studio",
            "Label Studio, in an environment of its own",
            theirs,
            (
                (sys.executable, "-m", "venv", str(theirs)),
                (str(theirs / "bin" / "python"), "-m", "pip", "install", "--requirement", str(label_studio)),
            ),
            repr(_lines(label_studio)),
        ),
        Step(
            "label-studio-database",
            "an empty database for Label Studio",
            theirs,
            # Any command makes its tables first, which takes half a minute; a new stack starts from a copy.
            ((str(theirs / "bin" / "label-studio"), "version"),),
            repr(_lines(label_studio)),
            {**QUIET_LABEL_STUDIO, "LABEL_STUDIO_BASE_DATA_DIR": str(theirs / "empty")},
        ),
    )


def done(step: Step) -> bool:
    """Whether it was done as it is now."""
    path = _stamp(step)
    return path.exists() and path.read_text("ascii") == _digest(step)


def mark_done(step: Step) -> None:
    """Remember that it is done, in its environment: so that this is forgotten with it."""
    path = _stamp(step)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(_digest(step), "ascii")
    fresh.replace(path)


def _stamp(step: Step) -> Path:
    return step.environment / ".setup" / step.name


def _digest(step: Step) -> str:
    return hashlib.sha256(step.key.encode()).hexdigest()


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
