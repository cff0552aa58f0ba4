"""What is in examples/ as it is committed."""

import re
from pathlib import Path

import nbformat
import pytest

from deploy.embedded.servers import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.rglob("*.ipynb"))


def test_there_is_a_notebook() -> None:
    assert [path.name for path in NOTEBOOKS] == ["train.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_valid_and_holds_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    ran = [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count") is not None]
    assert ran == [], "clear it first: jupyter nbconvert --clear-output --inplace"
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_job_can_set_its_parameters(path: Path) -> None:
    tagged = [cell for cell in nbformat.read(path, as_version=4).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert re.search(r"^project = ", tagged[0].source, re.MULTILINE)


def test_readme_names_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text()
    for path in (*EXAMPLES.glob("*.py"), *NOTEBOOKS, EXAMPLES / "recipe"):
        assert path.name in text
