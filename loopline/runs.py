"""The MLflow run of a model that is handed over: found, given the model and its golden file, and finished."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.runs import MODEL_FILE
from loopline.reaching import Refused
from services.chassis.errors import Away

if TYPE_CHECKING:
    from mlflow.entities import Run


class Runs:
    """The loop's MLflow server."""

    def __init__(self, url: str) -> None:
        from mlflow import MlflowClient

        self._url = url
        self._client = MlflowClient(tracking_uri=url)

    def find(self, run_id: str | None) -> "Run":
        """The run of that id; without one that which is active here, or was the last to be.

        Raises:
            Refused: there is none, it is not on this server, or it was deleted or did not succeed.
            Away: MLflow does not answer.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        with self._answering():
            if run_id is None:
                active = mlflow.active_run() or mlflow.last_active_run()
                if active is None:
                    raise Refused("there is no MLflow run here: train inside `with mlflow.start_run():`, or name one")
                run_id = str(active.info.run_id)
            try:
                run = self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise Refused(
                    f"the loop's MLflow at {self._url} has no run {run_id}: log it there, with "
                    "`mlflow.set_tracking_uri(loopline.mlflow_url())` before the training"
                ) from error
        if run.info.lifecycle_stage != "active":
            raise Refused(f"the MLflow run {run_id} was deleted: restore it, or train in a new one")
        if run.info.status not in ("RUNNING", "FINISHED"):
            raise Refused(f"the MLflow run {run_id} ended as {run.info.status}: hand over one that succeeded")
        return run

    def model_of(self, run: "Run") -> bytes:
        """What was logged as `model.pt`.

        Raises:
            Refused: the run has no such artifact.
            Away: MLflow does not answer.
        """
        from mlflow.artifacts import download_artifacts

        run_id = str(run.info.run_id)
        with self._answering(), tempfile.TemporaryDirectory() as folder:
            if MODEL_FILE not in {file.path for file in self._client.list_artifacts(run_id)}:
                raise Refused(
                    f"the MLflow run {run_id} has no artifact {MODEL_FILE}: give the model to hand_over(), or log it "
                    f'with `mlflow.log_artifact("{MODEL_FILE}")`'
                )
            found = download_artifacts(run_id=run_id, artifact_path=MODEL_FILE, dst_path=folder, tracking_uri=self._url)
            return Path(found).read_bytes()

    def finish(self, run: "Run", files: Mapping[str, bytes], tags: Mapping[str, str]) -> None:
        """Log files and tags, and end the run. Done again it changes nothing.

        Raises:
            Away: MLflow does not answer.
        """
        import mlflow
        from mlflow.entities import RunTag

        run_id = str(run.info.run_id)
        with self._answering():
            with tempfile.TemporaryDirectory() as folder:
                for name, data in files.items():
                    (Path(folder) / name).write_bytes(data)
                self._client.log_artifacts(run_id, folder)
            self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
            if (active := mlflow.active_run()) and active.info.run_id == run_id:
                mlflow.end_run()
            elif run.info.status != "FINISHED":
                self._client.set_terminated(run_id, "FINISHED")

    @contextmanager
    def _answering(self) -> Iterator[None]:
        import requests
        from mlflow.exceptions import MlflowException

        from services.chassis.mlflow_away import why_away

        try:
            yield
        except (MlflowException, requests.RequestException) as error:
            why = why_away(error, lambda: self._client.search_experiments(max_results=1))
            raise Away(f"MLflow at {self._url} {why or f'does not do what is asked: {str(error)[:500]}'}") from error
