"""The MLflow run in which `loopline run` lets a notebook work."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from contracts.runs import MODEL_SHA256
from services.chassis.mlflow_away import why_away
from services.cli.errors import BadInput

_HEALTH_TIMEOUT_S = 5.0
_FAILED_TAG = "loopline.failed_because"


class NotebookRun:
    """A run that was begun. In `environment` the notebook's `mlflow.start_run()` goes on with it."""

    def __init__(self, client: MlflowClient, run_id: str, url: str) -> None:
        self._client = client
        self.id = run_id
        self.environment = {"MLFLOW_TRACKING_URI": url, "MLFLOW_RUN_ID": run_id}

    def end(self, status: str, why: str, executed: Path) -> bool:
        """Log the notebook as it ended, and end the run; whether MLflow took it.

        A run whose model was handed over is its result, and stays finished. Otherwise `FINISHED` says nothing: MLflow
        marks a run so when its kernel ends, whatever for.
        """
        try:
            if executed.exists():
                self._client.log_artifact(self.id, str(executed), "notebook")
            if MODEL_SHA256 not in self._client.get_run(self.id).data.tags:
                if why:
                    self._client.set_tag(self.id, _FAILED_TAG, why[:5000])
                self._client.set_terminated(self.id, status)
        except (MlflowException, requests.RequestException, OSError):
            return False
        return True


def begin(url: str, project: str, notebook: Path, values: Mapping[str, Any]) -> NotebookRun:
    """A run in the project's experiment, which is made where it is missing.

    Raises:
        BadInput: MLflow does not answer, or does not do this.
    """
    # It would print on standard output, which is for our answer.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    client = MlflowClient(tracking_uri=url)
    with _answering(url, client):
        # MLflow's own client would try for minutes.
        requests.get(f"{url.rstrip('/')}/health", timeout=_HEALTH_TIMEOUT_S)
        experiment = client.get_experiment_by_name(project)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(project)
        tags = {
            "mlflow.source.name": notebook.name,
            "mlflow.source.type": "NOTEBOOK",
            "loopline.project": project,
            **{f"loopline.set.{name}": str(value)[:500] for name, value in values.items()},
        }
        made = client.create_run(str(experiment_id), tags=tags, run_name=notebook.stem)
    return NotebookRun(client, str(made.info.run_id), url)


@contextmanager
def _answering(url: str, client: MlflowClient) -> Iterator[None]:
    try:
        yield
    except (MlflowException, requests.RequestException) as error:
        why = why_away(error, lambda: client.search_experiments(max_results=1))
        raise BadInput(f"MLflow at {url} {why or f'does not do what is asked: {str(error)[:300]}'}") from error
