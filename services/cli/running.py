"""`loopline run`: a notebook as a job, with parameters; what it came to is an artifact of its MLflow run."""

import ast
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli import notebooks
from services.cli.errors import BadInput, Failed
from services.cli.options import AsJson, Project
from services.cli.session import check_project, session_of, the_project
from services.cli.training import parse

_PROJECT = "project"


def run(
    context: typer.Context,
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="A Jupyter notebook, .ipynb.")],
    project: Project = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="In place of its cell tagged parameters; once for each."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a notebook from its first cell to its last in an MLflow run of the project, and keep it there as it ended.

    What its cells print goes to standard error. Exit code 1: a cell failed.
    """
    session = session_of(context)
    values = parse(parameters or [])
    cells = notebooks.read(notebook)
    declared = notebooks.parameters(cells)
    unknown = [name for name in values if name not in declared]
    if unknown:
        knows = ", ".join(declared) or "none: give one cell the tag parameters"
        raise BadInput(f"--set {unknown[0]}: {notebook} has no such parameter; it has {knows}")
    if project is not None and _PROJECT in declared and values.setdefault(_PROJECT, project) != project:
        raise BadInput(f"--project {project} and --set {_PROJECT}={values[_PROJECT]}: name one of the two")
    name = session.run(lambda client: the_project(client, project or _of_notebook(values, declared)))
    from services.cli.notebook_runs import begin

    begun = begin(session.settings.mlflow_url, name, notebook, values)
    session.notes.print(f"running {notebook.name} for {name} in the MLflow run {begun.id}")
    began = time.monotonic()
    executed = Path(tempfile.mkdtemp(prefix="loopline-run-")) / notebook.name
    status, why, kept = "KILLED", "it was interrupted", False
    try:
        why = notebooks.execute(
            cells,
            values,
            executed,
            work_in=notebook.parent,  # as in Jupyter
            environment=begun.environment,
            progress_bar=session.notes.is_terminal,
        )
        status = "FAILED" if why else "FINISHED"
    finally:
        if kept := begun.end(status, why, executed):
            shutil.rmtree(executed.parent)
    where = f"it is in the MLflow run {begun.id}" if kept else f"MLflow did not take it, so it is {executed}"
    if why or not kept:
        raise Failed(f"{notebook.name}: {f'{why}; ' if why else ''}{where}")
    took_s = time.monotonic() - began
    if as_json:
        session.json({"run_id": begun.id, "project": name, "notebook": notebook.name, "seconds": round(took_s, 3)})
    else:
        session.out.print(f"ran {notebook.name} in {took_s:.0f} s: {where}")


def _of_notebook(values: Mapping[str, Any], declared: Mapping[str, str]) -> str | None:
    """The project that it will work on by its own parameters."""
    if _PROJECT in values:
        return check_project(str(values[_PROJECT]))
    try:
        return check_project(str(ast.literal_eval(declared[_PROJECT])))
    except (KeyError, ValueError, SyntaxError):
        return None
