"""The warm child process that asks models: the service itself does not import torch."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol, cast

from contracts.telemetry import EVALUATION_RUN
from services.chassis.child import ChildFailed
from services.chassis.errors import Away, Retry
from services.chassis.telemetry import span
from services.evaluator.job import Compared, Job, Places
from services.evaluator.ports import CannotJudge

WORKER = "services.evaluator.worker"


class Child(Protocol):
    """A warm child, as `services.chassis.child.WarmChild`."""

    def run(self, job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]: ...


class TorchProcess:
    """Asks the models in the child."""

    def __init__(self, child: Child, places: Places) -> None:
        self._child = child
        self._places = places

    async def compare(self, job: Job) -> Compared:
        """As `ports.Models.compare`."""
        given = {"job": job.model_dump(mode="json"), "places": self._places.model_dump(mode="json")}
        attributes: dict[str, Any] = {
            "loopline.project": job.project,
            "loopline.candidate": job.candidate.file.sha256,
            "loopline.champion": job.champion.file.sha256 if job.champion else "",
        }
        with span(EVALUATION_RUN, **attributes):
            try:
                async with aclosing(cast("AsyncGenerator[dict[str, Any]]", self._child.run(given))) as answers:
                    async for answer in answers:
                        if "result" in answer:
                            return Compared.model_validate(answer["result"])
            except ChildFailed as failed:
                if failed.rejected:
                    raise CannotJudge(failed.reason) from failed
                raise (Away if failed.away else Retry)(failed.reason) from failed
        raise Retry("the child process ended without a result")
