"""What a training ran in: packages, Python, the code's revision."""

import platform
import subprocess
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path

_CODE = Path(__file__).parents[3]


@lru_cache(maxsize=1)
def code_revision() -> str:
    """The git commit of the checkout that this code runs from; "" where it was installed, or there is no git."""
    if not (_CODE / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(_CODE), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


@lru_cache(maxsize=1)
def requirements() -> str:
    """Every installed package with its version, as `pip freeze` has it."""
    found = {one.name.lower(): one.version for one in distributions() if one.name}
    lines = [f"# Python {platform.python_version()} on {platform.platform()}"]
    # Ourselves are in no package index; the revision says which code it was.
    for name, version in sorted(found.items()):
        lines.append(f"{'# ' if name == 'loopline' else ''}{name}=={version}")
    return "\n".join(lines) + "\n"


def python_env() -> str:
    """How MLflow is to rebuild it."""
    return f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n"
