"""The read model of the loop: the same from every way that the facts can come."""

import random

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.dataset import DatasetRejected, FailedCheck
from contracts.events.deployment import DeploymentFailed, DeploymentStarted
from contracts.events.model import ModelApproved, ModelRegistered
from contracts.events.prediction import PredictionFailed
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingFailed, TrainingProgressed, TrainingStarted
from tests.said import PLAN, answered, card, deployed, enveloped, given, judged, model_version, versioned
from webapp.read_models.loop import LOOP_EVENTS, LoopFeed, Station

REFUSED = DatasetRejected(checks=(FailedCheck(check="few", sentence="defective has 1 image of 5"),))
HISTORY: list[tuple[Event, Envelope]] = [
    enveloped(event, second, project=project)
    for project in ("solar", "wind")
    for second, event in enumerate(
        (
            card(project=project),
            given("p-1", "functional"),
            REFUSED,
            versioned(1),
            TrainingStarted(plan=PLAN, trainer="host/1"),
            *(TrainingProgressed(plan=PLAN, stage="fit", done=done, total=3) for done in range(4)),
            TrainingFailed(plan=PLAN, reason="out of memory"),
            TrainingStarted(plan=PLAN, trainer="host/2"),
            judged("failed", "Recall of defective is below its floor."),
            judged("passed", "All 3 gates passed."),
            ModelRegistered(version=model_version(1)),
            ModelApproved(version=model_version(1), approved_by="gates", why="all 3 gates passed"),
            DeploymentStarted(version=model_version(1), nodes=("local",)),
            DeploymentFailed(version=model_version(1), node="local", reason="golden check"),
            deployed(1),
            PredictionFailed(prediction_id="p-0", reason="no model"),
            answered("p-1"),
        )
    )
]


def loop(facts: list[tuple[Event, Envelope]], project: str = "solar") -> dict[str, Station]:
    feed = LoopFeed()
    for event, envelope in facts:
        feed.hear(event, envelope)
    return {station.name: station for station in feed.stations(project)}


def test_each_station_tells_what_happened_last_and_what_was_refused_before() -> None:
    stations = loop(HISTORY)
    told = {name: station.last.words for name, station in stations.items() if station.last}
    assert told == {
        "Label": "functional, not defective",
        "Dataset": "1 with 300 labels, 300 of them new",
        "Train": "started",
        "Evaluate": "All 3 gates passed.",
        "Register": "v1 approved by gates: all 3 gates passed",
        "Deploy": "v1 serves",
        "Predict": "defective, 90% sure, by v1",
    }
    refused = {name: station.refused.words for name, station in stations.items() if station.refused}
    assert refused == {
        "Dataset": "refused: defective has 1 image of 5",
        "Train": "failed: out of memory",
        "Deploy": "the rollout of v1 failed: golden check",
        "Predict": "no answer: no model",
    }
    dataset = stations["Dataset"].last
    assert dataset
    assert (dataset.name, dataset.refs) == ("dataset.versioned", (f"dataset {1:016x}",))


def test_a_rebuilt_loop_is_the_live_one_also_from_facts_that_came_twice_and_in_any_order() -> None:
    live = loop(HISTORY)
    for seed in range(20):
        again = HISTORY * 2
        random.Random(seed).shuffle(again)
        assert loop(again) == live


def test_the_last_fact_of_each_type_is_all_that_a_rebuilding_has_to_read() -> None:
    last = {(envelope.project, type(event)): (event, envelope) for event, envelope in HISTORY}
    assert loop(list(last.values())) == loop(HISTORY)


def test_what_is_no_fact_of_the_loop_changes_nothing_and_a_project_without_facts_has_empty_stations() -> None:
    assert ProjectDefined not in LOOP_EVENTS
    assert {station.last for station in loop([enveloped(card(), 0)]).values()} == {None}
    assert loop(HISTORY, "nobody").keys() == loop(HISTORY).keys()


def test_of_one_instant_the_fact_that_ends_the_work_is_the_last() -> None:
    progress = enveloped(TrainingProgressed(plan=PLAN, stage="fit", done=9, total=9), 5)
    end = enveloped(TrainingFailed(plan=PLAN, reason="x"), 5)
    for facts in ([progress, end], [end, progress]):
        last = loop(facts)["Train"].last
        assert last
        assert last.words == "failed: x"
