import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from contracts.events.base import BlobRef
from contracts.events.training import TrainedModel, TrainingPlan
from services.chassis.child import ChildFailed
from services.chassis.errors import Away, Retry
from services.trainer.adapters.torch_process import TorchProcess
from services.trainer.job import Job, Made, Places
from services.trainer.ports import CannotTrain, Step

REF = BlobRef(uri=f"blob://{'a' * 64}.pt", sha256="a" * 64, size_bytes=3)
MADE = Made(
    run_id="r1",
    model=TrainedModel(file=REF, golden=REF, classes=("good", "bad"), max_side=64),
    metrics={"validation_accuracy": 0.9},
)
JOB = Job(
    project="solar",
    claim="train.solar.p",
    plan_hash="p",
    plan=TrainingPlan(dataset_id="0" * 16, recipe="frozen-features", seed=0),
    dataset_number=1,
    classes=("good", "bad"),
    manifest=REF,
    correlation_id="c",
)
PLACES = Places(blobs_root="b", kept_root="k", mlflow_url="http://mlflow.example")
STEP = {"stage": "fit", "done": 1, "total": 5, "metrics": {"loss": 0.4}}


class FakeChild:
    """Says what it was given to say, then fails or goes on for ever."""

    def __init__(self, *answers: dict[str, Any], fails: ChildFailed | None = None, endless: bool = False) -> None:
        self.answers = answers
        self.fails = fails
        self.endless = endless
        self.stopped = False
        self.given: dict[str, Any] = {}

    async def run(self, job: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        self.given = job
        try:
            for answer in self.answers:
                yield answer
            if self.fails:
                raise self.fails
            if self.endless:
                await asyncio.Event().wait()
        finally:
            self.stopped = True


async def test_steps_come_as_they_are_done_and_last_what_was_made() -> None:
    child = FakeChild(STEP, {"result": MADE.model_dump(mode="json")})
    steps = [step async for step in TorchProcess(child, PLACES).train(JOB)]
    assert steps == [Step("fit", 1, 5, {"loss": 0.4}), MADE]
    assert Job.model_validate(child.given["job"]) == JOB
    assert Places.model_validate(child.given["places"]) == PLACES


@pytest.mark.parametrize(("kind", "error"), [("rejected", CannotTrain), ("away", Away), ("", Retry)])
async def test_what_no_repetition_mends_is_told_apart_from_what_it_may(kind: str, error: type[Exception]) -> None:
    child = FakeChild(
        STEP, fails=ChildFailed("no training image shows bad", rejected=kind == "rejected", away=kind == "away")
    )
    with pytest.raises(error, match="no training image shows bad"):
        [step async for step in TorchProcess(child, PLACES).train(JOB)]


async def test_whoever_stops_listening_stops_the_child() -> None:
    child = FakeChild(STEP, endless=True)
    async with aclosing(TorchProcess(child, PLACES).train(JOB)) as steps:
        assert await anext(steps) == Step("fit", 1, 5, {"loss": 0.4})
    assert child.stopped


async def test_whoever_is_cancelled_stops_the_child() -> None:
    child, heard = FakeChild(STEP, endless=True), asyncio.Event()

    async def listen() -> None:
        async for _ in TorchProcess(child, PLACES).train(JOB):
            heard.set()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert child.stopped


async def test_who_only_helps_makes_nothing() -> None:
    steps = [step async for step in TorchProcess(FakeChild(STEP, {"result": {}}), PLACES).train(JOB)]
    assert steps == [Step("fit", 1, 5, {"loss": 0.4})]
