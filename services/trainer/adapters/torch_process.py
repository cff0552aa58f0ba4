"""The warm child process that trains: the service itself imports neither torch nor MLflow."""

import asyncio
import shlex
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol, cast

from contracts.telemetry import TRAINING_RUN
from services.chassis.child import ChildFailed
from services.chassis.errors import Away, Retry
from services.chassis.telemetry import span
from services.trainer.job import Cancel, Job, Made, Places
from services.trainer.ports import CannotTrain, Step

WORKER = "services.trainer.worker"


def worker_env(mlflow_timeout_s: int) -> dict[str, str]:
    """MLflow's client tries seven times with two minutes each unless told otherwise; the bus tries again for us."""
    return {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(mlflow_timeout_s),
        "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }


def launcher(torchrun: str) -> tuple[str, ...]:
    """What starts the child, as `WarmChild` takes it, from the arguments of torchrun; nothing for none."""
    return ("torch.distributed.run", *shlex.split(torchrun), "-m") if torchrun else ()


class Child(Protocol):
    """A warm child, as `services.chassis.child.WarmChild`."""

    def run(self, job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]: ...


class TorchProcess:
    """Trains in the child. The span of a training covers the start of the child, too."""

    def __init__(self, child: Child, places: Places) -> None:
        self._child = child
        self._places = places

    async def train(self, job: Job) -> AsyncGenerator[Step | Made]:
        """As `ports.Trainer.train`."""
        steps: asyncio.Queue[Step | Made | None] = asyncio.Queue()
        # In a task of its own: a span that is open across `yield` would be the parent of whatever is done in between.
        run = asyncio.create_task(self._run(job, steps))
        run.add_done_callback(lambda _: steps.put_nowait(None))
        try:
            while (step := await steps.get()) is not None:
                yield step
            await run
        finally:
            run.cancel()
            await asyncio.wait({run})

    async def cancel(self, project: str, claim: str, reason: str) -> bool:
        """As `ports.Trainer.cancel`."""
        cancel = Cancel(project=project, claim=claim, reason=reason)
        given = {"cancel": cancel.model_dump(), "places": self._places.model_dump(mode="json")}
        async with aclosing(cast("AsyncGenerator[dict[str, Any]]", self._child.run(given))) as answers:
            try:
                async for answer in answers:
                    return bool(answer["result"]["cancelled"])
            except ChildFailed as failed:
                raise (Away if failed.away else Retry)(failed.reason) from failed
        raise Retry("the child process did not say whether it cancelled")

    async def _run(self, job: Job, steps: asyncio.Queue[Step | Made | None]) -> None:
        given = {"job": job.model_dump(mode="json"), "places": self._places.model_dump(mode="json")}
        attributes: dict[str, Any] = {
            "loopline.project": job.project,
            "loopline.dataset_id": job.plan.dataset_id,
            "loopline.recipe": job.plan.recipe,
            "loopline.plan": job.plan_hash,
        }
        with span(TRAINING_RUN, **attributes) as current:
            try:
                answers = cast("AsyncGenerator[dict[str, Any]]", self._child.run(given))
                async with aclosing(answers):
                    async for answer in answers:
                        if answer.get("result") == {}:
                            continue
                        if "result" in answer:
                            made = Made.model_validate(answer["result"])
                            current.set_attribute("loopline.run_id", made.run_id)
                            steps.put_nowait(made)
                        else:
                            steps.put_nowait(Step(**answer))
            except ChildFailed as failed:
                if failed.rejected:
                    raise CannotTrain(failed.reason) from failed
                raise (Away if failed.away else Retry)(failed.reason) from failed
