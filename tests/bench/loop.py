"""`./taskw bench:loop`: the loop's own overhead in a turn, and how much faster kept features make a retraining.

Runs the demo on a stack of its own under `var/bench/stack`. Then, on the demo's last dataset, it changes one label and
freezes, several times, and trains the result once more without any kept features, several times. Writes
`var/bench/loop.json`.
"""

import asyncio
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Event as Flag
from threading import Thread

import psutil
import pyarrow.parquet as pq

from contracts.events.dataset import DatasetRequested, DatasetVersioned
from contracts.events.feedback import FeedbackGiven
from contracts.events.label import LabelSubmitted
from contracts.events.prediction import PredictionCompleted
from contracts.events.training import TrainingCompleted, TrainingRequested
from services.chassis.client import Client
from tests.e2e.stack import ROOT, Stack, embedded_stack
from tests.eventually import eventually

OUT = ROOT / "var" / "bench"
PROJECT = "solar"
ROUNDS = 3
_WAIT_S = 120.0


def main() -> int:
    """Measure, write, print; returns the exit code."""
    shutil.rmtree(OUT / "stack", ignore_errors=True)
    with embedded_stack(OUT / "stack") as stack:
        began = time.monotonic()
        env = {**os.environ, "LOOPLINE_VAR": str(stack.var)}
        with _peak_memory(stack) as peak_mb:
            subprocess.run([sys.executable, "-m", "services.cli", "demo"], env=env, cwd=ROOT, check=True, timeout=900)
        demo_s = time.monotonic() - began
        kept_s, anew_s = asyncio.run(_retrainings(stack))
    turns = json.loads((stack.var / "demo" / "report.json").read_text())["turns"]
    overheads = [turn["overhead_s"] for turn in turns if turn["overhead_s"] is not None]
    result = {
        "metrics": {
            "overhead_s": max(overheads),
            "retrain_speedup": round(statistics.median(anew_s) / statistics.median(kept_s), 2),
        },
        "overheads_s": overheads,
        "retrain_on_kept_features_s": kept_s,
        "retrain_on_none_s": anew_s,
        "demo_s": round(demo_s, 1),
        "stack_peak_mb": round(max(peak_mb)),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }
    (OUT / "loop.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0


async def _retrainings(stack: Stack) -> tuple[list[float], list[float]]:
    """Seconds of trainings on kept features after one label was changed, and of the same set on none."""
    async with Client.connect(stack.settings, "bench") as client:
        kept_s = [await _one_label_changed(client, round_) for round_ in range(ROUNDS)]
        anew_s = []
        for _ in range(ROUNDS):
            shutil.rmtree(Path(stack.settings.kept_root) / "features")
            async with _next_training(client) as seconds:
                await client.say(TrainingRequested(again=True, why="bench: nothing kept"), project=PROJECT)
            anew_s.append(seconds[0])
    return kept_s, anew_s


async def _one_label_changed(client: Client, round_: int) -> float:
    """Correct a picture that is in the dataset already, freeze, and wait for the training on it."""
    dataset = await client.last(DatasetVersioned, PROJECT)
    assert dataset
    rows = pq.read_table(io.BytesIO(client.blobs.read(dataset[0].manifest.uri))).to_pylist()
    labels = {row["sha256"]: row["label"] for row in rows if row["split"] == "train"}
    answers = [event async for event, _, _ in client.read(PredictionCompleted, PROJECT)]
    answer = [answer for answer in answers if answer.image.sha256 in labels][round_]
    submitted = await _count(client, LabelSubmitted)
    correction = FeedbackGiven(
        prediction_id=answer.prediction_id,
        image=answer.image,
        predicted=answer.label,
        correct=next(name for name in answer.classes if name != labels[answer.image.sha256]),
        given_by="bench",
    )
    await client.say(correction, project=PROJECT)

    async def labelled() -> None:
        assert await _count(client, LabelSubmitted) > submitted

    await eventually(labelled, _WAIT_S)
    async with _next_training(client) as seconds:
        await client.say(DatasetRequested(why="bench: one label changed"), project=PROJECT)
    return seconds[0]


async def _count(client: Client, event_type: type[LabelSubmitted] | type[TrainingCompleted]) -> int:
    return len([event async for event, _, _ in client.read(event_type, PROJECT)])


@asynccontextmanager
async def _next_training(client: Client) -> AsyncIterator[list[float]]:
    """Waits, at its end, for the training that was asked for inside; its seconds are then in the list.

    Begins when nothing of an earlier turn is going on any more, which would take the cores from it.
    """

    async def idle() -> None:
        assert [state for state in await client.consumers() if state.pending or state.unacked] == []

    await eventually(idle, _WAIT_S)
    before = await _count(client, TrainingCompleted)
    seconds: list[float] = []
    yield seconds

    async def trained() -> None:
        assert await _count(client, TrainingCompleted) > before

    await eventually(trained, _WAIT_S)
    found = await client.last(TrainingCompleted, PROJECT)
    assert found
    seconds.append(found[0].seconds)


class _peak_memory:
    """Watches what the stack's processes hold together (proportional set size), in MB, every two seconds."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._seen = [0.0]
        self._over = Flag()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> list[float]:
        self._thread.start()
        return self._seen

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        supervisor = self._stack.supervisor()
        while not self._over.wait(2.0):
            total = 0.0
            for process in [supervisor, *supervisor.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    total += process.memory_full_info().pss / 1e6
            self._seen.append(total)


if __name__ == "__main__":
    sys.exit(main())
