import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from deploy.embedded.servers import free_port
from tests.services.cli.world import defined, refused, run


def notebook(folder: Path, *sources: str, tag: str = "parameters") -> str:
    """A notebook whose first cell has a tag."""
    cells = [new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = [tag]
    path = folder / "train.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return str(path)


def test_parameters_that_the_notebook_does_not_have_are_refused(tmp_path: Path) -> None:
    path = notebook(tmp_path, "epochs = 3\nrate = 0.1", "1 / 0")
    text = refused(run(defined(tmp_path), "run", path, "--set", "epoch=1"))
    assert text == f"--set epoch: {path} has no such parameter; it has epochs, rate"
    path = notebook(tmp_path, "epochs = 3", tag="other")
    assert "give one cell the tag parameters" in refused(run(defined(tmp_path), "run", path, "--set", "epochs=1"))


def test_what_is_no_notebook_is_refused(tmp_path: Path) -> None:
    assert (
        refused(run(defined(tmp_path), "run", "missing.ipynb"))
        == "cannot read missing.ipynb: No such file or directory"
    )
    path = tmp_path / "script.ipynb"
    for content in ("print(1)", "[]", '{"a": 1}', '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', ""):
        path.write_text(content)
        assert refused(run(defined(tmp_path), "run", str(path))) == f"{path} is no Jupyter notebook"
    nbformat.write(new_notebook(metadata={"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}), path)
    assert "is in R: only notebooks in Python" in refused(run(defined(tmp_path), "run", str(path)))


def test_two_projects_at_once_are_refused(tmp_path: Path) -> None:
    path = notebook(tmp_path, 'project = "solar"')
    given = ("--project", "solar", "--set", "project=lunar")
    complaint = refused(run(defined(tmp_path), "run", path, *given))
    assert "--project solar and --set project=lunar: name one of the two" in complaint


@pytest.mark.parametrize("given", [("--project", "nowhere"), ("--set", "project=nowhere"), ()])
def test_the_project_is_that_of_the_option_or_of_the_notebook_and_must_be_defined(
    tmp_path: Path, given: tuple[str, ...]
) -> None:
    path = notebook(tmp_path, 'project = "nowhere"')
    assert "the project nowhere is not defined (defined: solar)" in refused(run(defined(tmp_path), "run", path, *given))


def test_without_papermill_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "papermill", None)
    text = refused(run(defined(tmp_path), "run", notebook(tmp_path, "epochs = 3")))
    assert text.endswith("is not installed: pip install 'loopline[notebooks]'")


def test_mlflow_that_is_away_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("LOOPLINE_MLFLOW_URL", url)
    text = refused(run(defined(tmp_path), "run", notebook(tmp_path, "epochs = 3")))
    assert text == f"MLflow at {url} does not answer: is it running?"
