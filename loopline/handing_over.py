"""Handing a model over: everything is checked, then it is stored and logged, then one fact is said."""

import asyncio
import hashlib
import io
import math
import time
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Union

from contracts.envelope import Envelope, derive_id
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed
from contracts.events.training import TrainedModel, TrainingCompleted, TrainingPlan
from contracts.runs import (
    DATASET,
    DATASET_NUMBER,
    GOLDEN_FILE,
    GOLDEN_SHA256,
    MAX_SIDE,
    MODEL_FILE,
    MODEL_SHA256,
    PROJECT,
    REVISION,
)
from loopline.datasets import Dataset
from loopline.reaching import WHO, LooplineSettings, Refused, on_the_bus
from loopline.runs import Runs
from loopline.trying import golden
from services.chassis.blobs import Blobs
from services.chassis.client import Client

if TYPE_CHECKING:
    import torch
    from mlflow.entities import Run

_GOLDEN_IMAGES = 8
_LONGEST_VALUE = 500
_CLOCKS_DIFFER = timedelta(minutes=1)

Model = Union["torch.jit.ScriptModule", bytes, str, Path]


@dataclass(frozen=True)
class Verdict:
    """What the evaluator said: `passed`, `failed`, `cannot-be-judged`, or `not-judged` where it could not even try."""

    verdict: str
    sentence: str


@dataclass(frozen=True)
class HandedOver:
    """A candidate that the loop knows of."""

    project: str
    run_id: str
    model_sha256: str
    event_id: str
    trained_at: datetime

    def verdict(self, timeout_s: float = 300) -> Verdict:
        """Wait for what the evaluator says of it.

        Raises:
            TimeoutError: nothing in that time.
        """

        async def heard(client: Client) -> Verdict:
            since = self.trained_at - _CLOCKS_DIFFER
            events = client.events([EvaluationCompleted, EvaluationFailed], self.project, since=since)
            async with asyncio.timeout(timeout_s), aclosing(events):
                async for event, _ in events:
                    if isinstance(event, EvaluationCompleted) and event.run_id == self.run_id:
                        return Verdict(event.verdict, event.sentence)
                    if isinstance(event, EvaluationFailed) and event.run_id == self.run_id:
                        return Verdict("not-judged", event.reason)
            raise AssertionError("a subscription does not end by itself")

        try:
            return on_the_bus(heard)
        except TimeoutError:
            raise TimeoutError(
                f"no verdict within {timeout_s:g} s: is the evaluator there? loopline services"
            ) from None


def hand_over(
    model: Model | None, data: Dataset, *, run_id: str | None = None, recipe: str = "own-code", seed: int = 0
) -> HandedOver:
    """Check a model that was trained on `data`, and say `training.completed` once; the evaluator then judges it.

    The model goes into the blob store, and with its golden file into its MLflow run, which is then finished. The same
    run and model handed over again are the same fact.

    Args:
        model: TorchScript (`uint8 [N,3,H,W]` -> probabilities `[N,C]` in the order of `data.classes`, heat map
            `[N,h,w]` in 0..1, embedding `[N,D]`, all float32), or a file of it, or its bytes; None takes the run's
            artifact `model.pt`.
        data: of `loopline.dataset`; its `max_side` is what the predictor will shrink to.
        run_id: the MLflow run that it was trained in; without one the active or the last one.
        recipe: how it was made, for the history.

    Raises:
        Refused: the model or the run will not do, and nothing was changed; the text says what to do.
        Unreachable, NotAllowed, Away: the bus, MLflow or the blob store does not answer, or not to this user.
    """
    settings = LooplineSettings()
    runs = Runs(settings.mlflow_url)
    run = runs.find(run_id)
    file = _bytes(model) if model is not None else runs.model_of(run)
    sha256 = hashlib.sha256(file).hexdigest()
    if run.data.tags.get(MODEL_SHA256, sha256) != sha256:
        raise Refused(f"the run {run.info.run_id} has handed another model over: train this one in a run of its own")
    answers = golden(file, data.examples(_GOLDEN_IMAGES), data.classes, max_side=data.max_side)

    blobs = Blobs(settings.blobs_root, make=False)
    trained = TrainedModel(
        file=blobs.put(file, "pt"), golden=blobs.put(answers, "npz"), classes=data.classes, max_side=data.max_side
    )
    event = TrainingCompleted(
        plan=TrainingPlan(dataset_id=data.dataset_id, recipe=recipe, parameters=_parameters(run), seed=seed),
        dataset_number=data.number,
        manifest=data.manifest,
        run_id=str(run.info.run_id),
        model=trained,
        metrics={name: float(value) for name, value in run.data.metrics.items() if math.isfinite(value)},
        seconds=max(0.0, (run.info.end_time or time.time() * 1000) - run.info.start_time) / 1000,
        code_revision=run.data.tags.get(REVISION, ""),
    )
    runs.finish(
        run,
        {MODEL_FILE: file, GOLDEN_FILE: answers},
        {
            MODEL_SHA256: sha256,
            GOLDEN_SHA256: trained.golden.sha256,
            MAX_SIDE: str(data.max_side),
            PROJECT: data.project,
            DATASET: data.dataset_id,
            DATASET_NUMBER: str(data.number),
        },
    )
    trained_at = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    said = on_the_bus(lambda client: _say(client, event, data.project))
    return HandedOver(data.project, event.run_id, sha256, said.id, trained_at)


async def _say(client: Client, event: TrainingCompleted, project: str) -> Envelope:
    # By run and model, so that whoever runs a cell twice says it once.
    envelope = Envelope.first(
        event,
        project=project,
        source=client.bus.source,
        id=derive_id(WHO, project, event.TYPE, event.run_id, event.model.file.sha256),
        time=datetime.now(UTC),
    )
    return await client.bus.send(event, envelope)


def _bytes(model: Model) -> bytes:
    if isinstance(model, bytes):
        return model
    if isinstance(model, str | Path):
        try:
            return Path(model).read_bytes()
        except OSError as error:
            raise Refused(f"the model {model} cannot be read: {error.strerror}") from error
    import torch

    if not isinstance(model, torch.jit.ScriptModule):
        raise Refused(
            f"the model is a {type(model).__name__}, not TorchScript: hand over torch.jit.script(module.eval()), "
            "see examples/README.md"
        )
    out = io.BytesIO()
    torch.jit.save(model, out)
    return out.getvalue()


def _parameters(run: "Run") -> dict[str, str]:
    """What was logged, each cut: the fact is for the history, the whole is in the run."""
    return {name: str(value)[:_LONGEST_VALUE] for name, value in run.data.params.items()}
