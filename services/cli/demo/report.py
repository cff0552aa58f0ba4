"""What the demo leaves behind: `report.json`, and a table of the turns on the terminal."""

import asyncio
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from contracts.events.dataset import DatasetVersioned
from contracts.events.deployment import DeploymentCompleted
from contracts.events.evaluation import EvaluationCompleted
from contracts.events.model import ModelRegistered
from contracts.telemetry import EVALUATION_RUN, GOLDEN_CHECK, TRAINING_RUN, TRITON_LOAD, process_span
from services.chassis.traces import StoredSpan, read_spans
from services.cli.demo.turns import Turn

_EXPORT_S = 15.0
_POLL_S = 0.25
_EXACT = 1e-9


async def spans_of(turns: Sequence[Turn], traces_dir: str) -> list[StoredSpan]:
    """All spans of the turns, once the last ones are written; processes write theirs twice a second."""
    deployed = {turn.trace_id for turn in turns if turn.first(DeploymentCompleted)}
    until = asyncio.get_running_loop().time() + _EXPORT_S
    while True:
        spans = await asyncio.to_thread(read_spans, traces_dir)
        written = {span.trace_id for span in spans if span.name == process_span("model.approved")}
        if deployed <= written or asyncio.get_running_loop().time() > until:
            return spans
        await asyncio.sleep(_POLL_S)


def turn_report(turn: Turn, spans: Sequence[StoredSpan]) -> dict[str, Any]:
    """One turn, as `report.json` has it. `overhead_s` is null where nothing was deployed."""
    dataset, judged = turn.first(DatasetVersioned), turn.first(EvaluationCompleted)
    registered = turn.first(ModelRegistered)
    overhead_s = turn.overhead_s(spans)
    return {
        "correlation_id": turn.correlation_id,
        "trace_id": turn.trace_id,
        "stages": turn.stages(),
        "overhead_s": None if overhead_s is None else round(overhead_s, 3),
        "dataset_id": dataset.dataset_id if dataset else None,
        "labels": dataset.labels if dataset else 0,
        "model_version": registered.version.version if registered else None,
        "test_accuracy": judged.candidate.accuracy.value if judged else None,
        "verdict": judged.verdict if judged else None,
    }


def show_turns(console: Console, turns: Sequence[Turn], spans: Sequence[StoredSpan]) -> None:
    """The turns as tables: what was done, how long it took, what was decided and why."""
    for number, turn in enumerate(turns, 1):
        table = Table(title=f"Turn {number}", title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        table.add_column("what was decided, and why")
        for stage, seconds, decided in _rows(turn, spans):
            table.add_row(stage, f"{seconds:.1f}" if seconds is not None else "", decided)
        console.print()
        console.print(table)


def _in_short(judged: EvaluationCompleted) -> str:
    """The verdict without the sentences of its gates, which stand below it."""
    sentence = judged.sentence
    for gate in judged.gates:
        sentence = sentence.replace(gate.sentence, "")
    return " ".join(sentence.split())


def _rows(turn: Turn, spans: Sequence[StoredSpan]) -> list[tuple[str, float | None, str]]:
    mine = [span for span in spans if span.trace_id == turn.trace_id]

    def spent(*names: str) -> float | None:
        found = [span.end_s - span.start_s for span in mine if span.name in names]
        return sum(found) if found else None

    dataset, judged = turn.first(DatasetVersioned), turn.first(EvaluationCompleted)
    registered, deployed = turn.first(ModelRegistered), turn.first(DeploymentCompleted)
    rows: list[tuple[str, float | None, str]] = []
    if dataset:
        rows.append(("dataset", None, f"version {dataset.number}: {dataset.labels} labels, {dataset.new_labels} new"))
        rows.append(("train", spent(TRAINING_RUN), f"recipe {judged.plan.recipe}" if judged else ""))
    if judged:
        rows.append(("judge", spent(EVALUATION_RUN), _in_short(judged)))
        rows += [("", None, f"{'+' if gate.passed else '-'} {gate.sentence}") for gate in judged.gates]
    if registered:
        rows.append(("register", None, f"version {registered.version.version}"))
    if deployed:
        checked = sum(check.golden_images for check in deployed.checks)
        difference = max(check.largest_difference for check in deployed.checks)
        where = ", ".join(check.node for check in deployed.checks)
        close = "exactly" if difference < _EXACT else f"within {difference:.0e}"
        said = f"on {where}; {checked} golden images answered {close} as PyTorch did"
        rows.append(("deploy", spent(TRITON_LOAD, GOLDEN_CHECK), said))
        rows.append(("the loop's own", turn.overhead_s(spans), "from dataset to deployment, outside the work"))
    return rows
