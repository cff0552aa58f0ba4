"""A trial in the child process, with a study whose database comes and goes."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from optuna.exceptions import StorageInternalError

from contracts.events.base import BlobRef
from contracts.events.training import TrainingPlan
from contracts.search import FloatRange, Search
from services.chassis.errors import Away
from services.trainer import searching
from services.trainer.adapters.optuna_study import Trial
from services.trainer.job import Job
from services.trainer.training import Bench, understood

SEARCH = Search(space={"l2": FloatRange(kind="float", low=1e-5, high=0.1)})
JOB = Job(
    project="solar",
    claim="train.solar.0",
    plan_hash="0",
    plan=TrainingPlan(dataset_id="0" * 16, recipe="frozen-features", seed=0, search=SEARCH),
    dataset_number=1,
    classes=("functional", "defective"),
    manifest=BlobRef(uri="blob://" + "0" * 64, sha256="0" * 64, size_bytes=0),
    correlation_id="c",
)


class LockedStudy:
    """Its database does not answer in the middle of a trial."""

    url, time_is_up = "sqlite:///studies.db", False

    def __init__(self) -> None:
        self.failed: list[str] = []

    def should_stop(self, trial: Trial, step: int, value: float) -> bool:
        raise StorageInternalError("database is locked")

    def fail(self, trial: Trial, why: str) -> None:
        self.failed.append(why)


def test_a_database_that_is_away_in_mid_trial_is_waited_for_and_no_mistake_of_the_recipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(job: Job, bench: Bench) -> None:
        with understood(job.plan.recipe):
            bench.on_epoch(1, {"validation_log_loss": 0.5})

    monkeypatch.setattr(searching, "train", train)
    study = LockedStudy()
    bench = Bench(*cast("tuple[Any, ...]", (SimpleNamespace(), SimpleNamespace(), "", lambda *_: None)))
    with pytest.raises(Away, match="sqlite database of the studies"):
        searching._try(Trial(0, 1, {"l2": 0.01}), cast(Any, study), JOB, bench, "parent")
    assert study.failed == []
