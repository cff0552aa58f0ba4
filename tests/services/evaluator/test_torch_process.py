import subprocess
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from contracts.events.base import BlobRef
from contracts.events.training import TrainedModel
from services.chassis.child import ChildFailed
from services.chassis.errors import Away, Retry
from services.evaluator.adapters.torch_process import TorchProcess
from services.evaluator.job import Job, Places
from services.evaluator.ports import CannotJudge

REF = BlobRef(uri=f"blob://{'a' * 64}.pt", sha256="a" * 64, size_bytes=3)
MODEL = TrainedModel(file=REF, golden=REF, classes=("good", "bad"), max_side=64)
JOB = Job(project="solar", manifest=REF, candidate=MODEL, champion=None)


class FailingChild:
    def __init__(self, failure: ChildFailed) -> None:
        self.failure = failure

    async def run(self, job: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        raise self.failure
        yield {}


@pytest.mark.parametrize(("kind", "error"), [("rejected", CannotJudge), ("away", Away), ("", Retry)])
async def test_what_no_repetition_mends_is_told_apart_from_what_it_may(kind: str, error: type[Exception]) -> None:
    process = TorchProcess(
        FailingChild(ChildFailed("it is so", rejected=kind == "rejected", away=kind == "away")),
        Places(blobs_root="b", kept_root="k"),
    )
    with pytest.raises(error, match="it is so"):
        await process.compare(JOB)


def test_the_service_itself_does_not_import_torch() -> None:
    code = "import sys, services.evaluator.app; print([m for m in ('torch', 'mlflow', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
