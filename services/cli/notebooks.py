"""Notebooks as jobs: what one can be given, and running it from its first cell to its last by papermill."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.cli.errors import BadInput

if TYPE_CHECKING:
    from nbformat import NotebookNode

_END_S = 20.0


def read(path: Path) -> "NotebookNode":
    """A Python notebook with a kernel that is installed here.

    Raises:
        BadInput: it cannot be read, is none, or in another language; or papermill is not installed.
    """
    try:
        import nbformat
        import papermill  # noqa: F401
        from jupyter_client.kernelspec import find_kernel_specs
    except ModuleNotFoundError as error:
        raise BadInput(f"{error.name} is not installed: pip install 'loopline[notebooks]'") from error
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from None
    except Exception:  # whatever nbformat stumbles over in a file that is something else
        raise BadInput(f"{path} is no Jupyter notebook") from None
    kernel = notebook.metadata.setdefault("kernelspec", {})
    if kernel.setdefault("language", "python") != "python":
        raise BadInput(f"{path} is in {kernel.language}: only notebooks in Python can be run")
    known = find_kernel_specs()
    if kernel.setdefault("name", "python3") not in known:
        raise BadInput(f"{path} wants the kernel {kernel.name}, here there is {', '.join(known)}: save it with that")
    return notebook


def parameters(notebook: "NotebookNode") -> Mapping[str, str]:
    """Those of the cell with the tag `parameters`, with what it sets them to as source."""
    from papermill.translators import PythonTranslator

    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return {found.name: str(found.default) for cell in tagged[:1] for found in PythonTranslator.inspect(cell)}


def execute(
    notebook: "NotebookNode",
    values: Mapping[str, Any],
    executed: Path,
    *,
    work_in: Path,
    environment: Mapping[str, str],
    progress_bar: bool,
) -> str:
    """Run every cell in a kernel with this environment; what they print goes to standard error.

    `executed` is the notebook with its outputs, written after each cell. Returns why it failed, "" where it did not.

    Raises:
        KeyboardInterrupt: it was stopped, by Ctrl-C or SIGTERM; its kernel is gone.
    """
    import nbformat

    source = executed.with_suffix(".source.ipynb")
    nbformat.write(notebook, source)
    # In a process of its own: nbclient takes the signals of whichever it runs in, and tells no one that there was one.
    command = [
        *(sys.executable, "-m", "papermill", str(source), str(executed)),
        *("--parameters_base64", base64.b64encode(json.dumps(dict(values)).encode()).decode()),
        *("--cwd", str(work_in.resolve()), "--log-level", "ERROR"),
        *("--stdout-file", "/dev/stderr", "--stderr-file", "/dev/stderr"),
        "--progress-bar" if progress_bar else "--no-progress-bar",
    ]
    with _stoppable(), subprocess.Popen(command, env={**os.environ, **environment}, stdout=sys.stderr) as job:
        try:
            code = job.wait()
        except KeyboardInterrupt:
            job.terminate()
            try:
                job.wait(_END_S)
            except subprocess.TimeoutExpired:
                job.kill()
            raise
    return _why_failed(executed) if code else ""


def _why_failed(executed: Path) -> str:
    import nbformat

    if executed.exists():
        for cell in nbformat.read(executed, as_version=4).cells:
            for output in cell.get("outputs", ()):
                if output.output_type == "error":
                    return f"In [{cell.execution_count}] ended with {output.ename}: {output.evalue}"
    return "its kernel did not start, or died: was there enough memory?"


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM, by which a job is stopped, does what Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
