"""Turns and the report of the demo, from facts alone."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from contracts.events.base import Event
from contracts.events.evaluation import GateResult
from contracts.events.model import ModelApproved, ModelPromoted, ModelRegistered
from contracts.events.training import TrainingCancelled, TrainingProgressed
from contracts.telemetry import EVALUATION_RUN, TRAINING_RUN
from services.chassis.traces import StoredSpan
from services.cli.demo.report import show_turns, turn_report
from services.cli.demo.turns import Said, Turn, turns_of
from tests.said import PLAN, START, answered, deployed, enveloped, judged, model_version, versioned

TRACE = "ab" * 16


def said(event: Event, second: float, turn: str = "one") -> Said:
    event, envelope = enveloped(event, second, turn=turn)
    return event, replace(envelope, traceparent=f"00-{TRACE}-{'cd' * 8}-01")


def whole_turn(verdict: str = "passed") -> list[Said]:
    facts: list[tuple[Event, float]] = [(versioned(1), 0)]
    facts += [(TrainingProgressed(plan=PLAN, stage="fit", done=1, total=2), 3), (judged(verdict, "Well."), 10)]
    if verdict == "passed":
        version = model_version(1)
        facts += [
            (ModelRegistered(version=version), 10.2),
            (ModelApproved(version=version, approved_by="gates", why="all 3 gates passed"), 10.3),
            (deployed(1), 15),
            (ModelPromoted(version=version), 15.1),
        ]
    return [said(event, second) for event, second in facts]


def span(name: str, start: float, end: float, trace: str = TRACE) -> StoredSpan:
    begin = START.timestamp()
    return StoredSpan(trace, name, "", name, "trainer", begin + start, begin + end)


def test_facts_are_grouped_by_the_turn_that_a_dataset_version_began() -> None:
    other = [said(versioned(2), 20, turn="two"), said(judged("failed", "Worse."), 30, turn="two")]
    turns = turns_of([said(answered("p"), -1, turn="p"), *whole_turn(), *other])
    assert [turn.correlation_id for turn in turns] == ["one", "two"]
    assert [len(turn.said) for turn in turns] == [7, 2]


@pytest.mark.parametrize(
    ("facts", "over"),
    [
        (whole_turn()[:-1], False),
        (whole_turn(), True),
        (whole_turn("failed"), True),
        (whole_turn("cannot-be-judged"), True),
        ([*whole_turn()[:2], said(TrainingCancelled(plan=PLAN, reason="superseded"), 4)], True),
    ],
)
def test_a_turn_is_over_when_a_model_serves_or_none_will(facts: list[Said], over: bool) -> None:
    assert Turn(facts).is_over is over


def test_the_report_counts_what_is_not_work_as_overhead_and_leaves_progress_out() -> None:
    spans = [span(TRAINING_RUN, 0.1, 6), span(EVALUATION_RUN, 6.1, 10), span(TRAINING_RUN, 0, 100, trace="ef" * 16)]
    report = turn_report(Turn(whole_turn()), spans)
    assert report["overhead_s"] == pytest.approx(15 - 5.9 - 3.9)
    assert [stage["seconds"] for stage in report["stages"]] == [0, 10, 0.2, 0.1, 4.7, 0.1]
    assert report["stages"][0]["event"] == "loopline.dataset.versioned.v1"
    assert (report["trace_id"], report["labels"], report["model_version"]) == (TRACE, 300, 1)
    assert (report["test_accuracy"], report["verdict"]) == (0.86, "passed")


def test_the_table_tells_each_gate_once() -> None:
    gates = (
        GateResult(gate="test set", passed=True, sentence="Every class has 5 test images."),
        GateResult(gate="floor: accuracy", passed=False, sentence="Accuracy is 60 %, below 70 %."),
    )
    verdict = judged("failed", "1 of 2 gates failed. Accuracy is 60 %, below 70 %.").model_copy(update={"gates": gates})
    shown = io.StringIO()
    show_turns(Console(file=shown, width=120), [Turn([said(versioned(1), 0), said(verdict, 10)])], [])
    lines = [" ".join(line.replace("│", "").split()) for line in shown.getvalue().splitlines()]
    assert lines[-3:] == [
        "judge 1 of 2 gates failed.",
        "+ Every class has 5 test images.",
        "- Accuracy is 60 %, below 70 %.",
    ]


def test_a_turn_that_deployed_nothing_has_no_overhead_to_report() -> None:
    report = turn_report(Turn(whole_turn("failed")), [])
    assert (report["overhead_s"], report["model_version"], report["verdict"]) == (None, None, "failed")
