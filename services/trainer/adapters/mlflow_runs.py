"""MLflow: one run for each piece of work, found again by its claim."""

import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from services.chassis.errors import Away, Rejected, Retry
from services.chassis.mlflow_away import why_away

# It tells of every start and stop.
logging.getLogger("mlflow.system_metrics.system_metrics_monitor").setLevel(logging.WARNING)

CLAIM_TAG = "loopline.claim"
FAILED_TAG = "loopline.failed_because"
CANCELLED_TAG = "loopline.cancelled_because"
STUDY_TAG = "loopline.study"
PRUNED_TAG = "loopline.pruned_because"
_CONTEXT_TAG = "mlflow.data.context"
# What is logged at each epoch, so that the numbers of the finished model stay apart.
_EPOCH = "epoch/"
_FINISHED = "FINISHED"
# A message that is not kept alive is another trainer's after 15 s; a call of MLflow takes a tenth of a second.
_STOOD_STILL_S = 2.0


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run before it begins. `dataset_id` is the digest of the dataset it is logged with."""

    project: str
    claim: str
    name: str
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    dataset_id: str
    dataset_name: str
    manifest_uri: str


@dataclass(frozen=True)
class FoundRun:
    """A run as MLflow has it. One that is `finished` is the result of its claim: it stays as it is."""

    id: str
    finished: bool
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


class MlflowRuns:
    """Runs of the experiment that has the project's name."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._epochs: dict[str, set[int]] = {}
        self._client = MlflowClient(tracking_uri=url)

    def begin(self, facts: RunFacts, now_ms: int) -> FoundRun:
        """The run for this claim: the one that a killed trainer left behind, finished or not, or a new one.

        Raises:
            Away: MLflow does not answer.
            Retry: it does not do what is asked.
            Rejected: the experiment was deleted.
        """
        with self._answering():
            experiment_id = self._experiment(facts.project)
            looked_s = time.monotonic()
            if found := self._found(experiment_id, facts.claim):
                self._reopen(found[0])
                return _seen(found[0])
            tags = {**facts.tags, CLAIM_TAG: facts.claim}
            made = _seen(self._client.create_run(experiment_id, start_time=now_ms, tags=tags, run_name=facts.name))
            if time.monotonic() - looked_s < _STOOD_STILL_S:
                return made
            # This process stood still between the look and the run, and another trainer may have begun: its run stays.
            for other in self._found(experiment_id, facts.claim):
                if other.info.run_id != made.id:
                    self._client.delete_run(made.id)
                    return _seen(other)
            return made

    def find(self, project: str, claim: str) -> FoundRun | None:
        """The run of a claim, if there is one. Raises as `begin`."""
        with self._answering():
            experiment = self._client.get_experiment_by_name(project)
            found = self._found(experiment.experiment_id, claim) if experiment else ()
            return _seen(found[0]) if found else None

    def is_finished(self, run_id: str) -> bool:
        """Whether a run came to its good end. Raises as `begin`."""
        with self._answering():
            return str(self._client.get_run(run_id).info.status) == _FINISHED

    def _reopen(self, run: Run) -> None:
        """Let a run that failed or was cancelled go on."""
        if run.info.status in ("RUNNING", _FINISHED):
            return
        self._client.update_run(run.info.run_id, status="RUNNING")
        for tag in (FAILED_TAG, CANCELLED_TAG, PRUNED_TAG):
            if tag in run.data.tags:
                self._client.delete_tag(run.info.run_id, tag)

    def _found(self, experiment_id: str, claim: str) -> Sequence[Run]:
        return list(self._client.search_runs([experiment_id], f"tags.`{CLAIM_TAG}` = '{claim}'", max_results=2))

    def watched(self, run_id: str) -> SystemMetricsMonitor:
        """Log how busy this machine is, every ten seconds, until its `finish` or the end of the run."""
        monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=self._url)
        monitor.start()
        return monitor

    def log_epoch(self, run_id: str, epoch: int, metrics: Mapping[str, float], now_ms: int) -> None:
        """Log the metrics of an epoch, once: a try that died may have done so before.

        Raises:
            Away: MLflow does not answer.
            Retry: it does not do what is asked.
        """
        if not metrics:
            return
        with self._answering():
            if run_id not in self._epochs:
                history = self._client.get_metric_history(run_id, _EPOCH + min(metrics))
                self._epochs[run_id] = {metric.step for metric in history}
            if epoch in self._epochs[run_id]:
                return
            logged = [Metric(_EPOCH + name, value, now_ms, epoch) for name, value in metrics.items()]
            self._client.log_batch(run_id, metrics=logged)
            self._epochs[run_id].add(epoch)

    def complete(
        self,
        run_id: str,
        facts: RunFacts,
        *,
        files: Mapping[str, bytes],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        now_ms: int,
    ) -> None:
        """Log everything, then mark the run as finished. Done again it overwrites and adds nothing.

        Raises:
            Away: MLflow does not answer.
            Retry: it does not do what is asked.
        """
        with self._answering():
            there = self._client.get_run(run_id).data.metrics
            self._client.log_batch(
                run_id,
                metrics=[Metric(name, value, now_ms, 0) for name, value in metrics.items() if there.get(name) != value],
                params=[Param(name, value) for name, value in facts.parameters.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )
            dataset = Dataset(
                name=facts.dataset_name,
                digest=facts.dataset_id,
                source_type="loopline",
                source=facts.manifest_uri,
            )
            self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag(_CONTEXT_TAG, "training")])])
            self._log_files(run_id, files)
            self._client.set_terminated(run_id, _FINISHED, now_ms)

    def _log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            if files:
                self._client.log_artifacts(run_id, folder)

    def fail(self, run_id: str, reason: str, now_ms: int, trace: str = "") -> FoundRun:
        """Mark the run as failed, and say why, unless it is finished. The run as it was before.

        Raises:
            Away: MLflow does not answer.
            Retry: it does not do what is asked.
        """
        with self._answering():
            if trace:
                self._log_files(run_id, {"traceback.txt": trace.encode()})
            return self._end(self._client.get_run(run_id), "FAILED", FAILED_TAG, reason, now_ms)

    def prune(self, run_id: str, reason: str, now_ms: int) -> FoundRun:
        """Mark the run of a trial as given up. As `fail`."""
        with self._answering():
            return self._end(self._client.get_run(run_id), "KILLED", PRUNED_TAG, reason, now_ms)

    def kill(self, project: str, claim: str, reason: str, now_ms: int) -> FoundRun | None:
        """Mark the run of a claim as killed, and say why, unless it is finished. The run as it was before, if any.

        The open runs of its trials end with it.

        Raises:
            Away: MLflow does not answer.
            Retry: it does not do what is asked.
        """
        with self._answering():
            experiment = self._client.get_experiment_by_name(project)
            found = self._found(experiment.experiment_id, claim) if experiment else ()
            if not experiment or not found:
                return None
            if found[0].info.status != _FINISHED:
                ours = f"tags.`{STUDY_TAG}` = '{claim}' and attributes.status = 'RUNNING'"
                for trial in self._client.search_runs([experiment.experiment_id], ours, max_results=1000):
                    self._end(trial, "KILLED", CANCELLED_TAG, reason, now_ms)
            return self._end(found[0], "KILLED", CANCELLED_TAG, reason, now_ms)

    def _end(self, run: Run, status: str, tag: str, reason: str, now_ms: int) -> FoundRun:
        if run.info.status != _FINISHED:
            self._client.set_tag(run.info.run_id, tag, reason[:5000])
            self._client.set_terminated(run.info.run_id, status, now_ms)
        return _seen(run)

    def _experiment(self, project: str) -> str:
        found = self._client.get_experiment_by_name(project)
        if found is None:
            try:
                return str(self._client.create_experiment(project))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                # Another trainer made it this moment.
                found = self._client.get_experiment_by_name(project)
        if found is None or found.lifecycle_stage != "active":
            raise Rejected(
                f"the MLflow experiment {project} was deleted: restore it with `mlflow experiments restore`, "
                "then ask again"
            )
        return str(found.experiment_id)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, requests.RequestException, OSError) as error:
            if why := why_away(error, lambda: self._client.search_experiments(max_results=1)):
                raise Away(f"MLflow at {self._url} {why}") from error
            raise Retry(f"MLflow at {self._url} does not do what is asked: {str(error)[:500]}") from error


def _seen(run: Run) -> FoundRun:
    return FoundRun(str(run.info.run_id), run.info.status == _FINISHED, run.data.tags, run.data.metrics)
