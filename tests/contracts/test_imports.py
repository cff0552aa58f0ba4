"""Whoever needs one module of the contracts imports that one, first and alone."""

import subprocess
import sys
from pathlib import Path

# In one interpreter, which forgets the contracts after each module and keeps pydantic.
_EACH_ALONE = """
import importlib, pkgutil, sys
import contracts

names = [found.name for found in pkgutil.walk_packages(contracts.__path__, "contracts.")]
assert "contracts.project" in names and "contracts.events.project" in names, names
failed = []
for name in names:
    for known in [known for known in sys.modules if known.partition(".")[0] == "contracts"]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed.append(f"{name}: {error}")
print("\\n".join(failed))
"""


def test_each_module_can_be_the_first_that_is_imported() -> None:
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", _EACH_ALONE], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr
