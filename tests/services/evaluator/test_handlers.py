import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import Envelope
from contracts.events.base import BlobRef, Event
from contracts.events.evaluation import (
    Calibration,
    ClassMetrics,
    Comparison,
    EvaluationCompleted,
    EvaluationFailed,
    Interval,
    Metrics,
    SliceMetrics,
)
from contracts.events.model import ModelPromoted, ModelVersion
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainedModel, TrainingCompleted, TrainingPlan
from contracts.project import Data, Floor, Gates, Misses, ScopeCard, Slices
from services.chassis.errors import Retry
from services.chassis.heard import Heard
from services.evaluator.handlers import on_training_completed, values
from services.evaluator.job import Compared, Job, Shared
from services.evaluator.ports import CannotJudge
from tests.contracts.instances import instances

CLASSES = ("functional", "defective")
CARD = ProjectDefined(
    card=ScopeCard(
        project="solar", data=Data(classes=CLASSES), gates=Gates(floors=(Floor(metric="accuracy", at_least=0.7),))
    )
)


def model(digit: str) -> TrainedModel:
    ref = BlobRef(uri=f"blob://{digit * 64}.pt", sha256=digit * 64, size_bytes=3)
    return TrainedModel(file=ref, golden=ref, classes=CLASSES, max_side=64)


def metrics(digit: str, accuracy: float) -> Metrics:
    number = Interval(value=accuracy)
    return Metrics(
        model_sha256=digit * 64,
        test_images=20,
        accuracy=number,
        macro_recall=number,
        roc_auc=Interval(value=0.9),
        classes=tuple(ClassMetrics(label=name, support=10, precision=number, recall=number) for name in CLASSES),
        confusion=((8, 2), (2, 8)),
    )


CANDIDATE = TrainingCompleted(
    plan=TrainingPlan(dataset_id="0" * 16, recipe="frozen-features", seed=0),
    dataset_number=4,
    manifest=model("c").file,
    run_id="run-4",
    model=model("a"),
    metrics={},
    seconds=3,
)


def promoted(dataset_number: int = 3) -> ModelPromoted:
    return ModelPromoted(
        version=ModelVersion(
            name="solar",
            version=2,
            model=model("b"),
            run_id="run-2",
            dataset_id="1" * 16,
            dataset_number=dataset_number,
        )
    )


class FakeFacts:
    def __init__(self, *said: Event) -> None:
        self.said = {type(event): event for event in said}

    async def last(self, event_type: type[Any], project: str) -> tuple[Any, Envelope] | None:
        event = self.said.get(event_type)
        return (event, envelope(event)) if event and project == "solar" else None


class FakeModels:
    """Gives the accuracies it was given, or raises."""

    def __init__(self, candidate: float, champion: float | None = None, raises: Exception | None = None) -> None:
        self.candidate = metrics("a", candidate)
        self.shared = champion and Shared(
            images=20,
            only_candidate_knows=(),
            only_champion_knows=(),
            candidate=self.candidate,
            champion=metrics("b", champion),
        )
        self.slices: tuple[SliceMetrics, ...] = ()
        self.raises = raises
        self.asked: list[Job] = []

    async def compare(self, job: Job) -> Compared:
        self.asked.append(job)
        if self.raises:
            raise self.raises
        return Compared(candidate=self.candidate, shared=self.shared if job.champion else None, slices=self.slices)


def envelope(event: Event) -> Envelope:
    return Envelope.first(event, project="solar", source="/test", id="e1", time=datetime(2026, 11, 24, tzinfo=UTC))


async def judged(models: FakeModels, *said: Event) -> Event:
    heard = Heard(envelope(CANDIDATE), "LOOP:7")
    (fact,) = await on_training_completed(CANDIDATE, heard, facts=FakeFacts(*said), models=models)
    return fact


async def test_the_first_model_is_judged_by_the_floors_of_the_card() -> None:
    models = FakeModels(0.8, 0.9)
    fact = await judged(models, CARD)
    assert isinstance(fact, EvaluationCompleted)
    assert (fact.verdict, fact.champion, fact.champion_version) == ("passed", None, None)
    assert [gate.gate for gate in fact.gates] == ["test set", "better than guessing", "floor: accuracy"]
    assert (fact.run_id, fact.model, fact.plan, fact.dataset_number) == ("run-4", model("a"), CANDIDATE.plan, 4)
    assert models.asked == [Job(project="solar", manifest=CANDIDATE.manifest, candidate=model("a"), champion=None)]


async def test_a_candidate_worse_than_todays_champion_is_a_verdict_and_no_error() -> None:
    models = FakeModels(0.8, 0.9)
    fact = await judged(models, CARD, promoted())
    assert isinstance(fact, EvaluationCompleted)
    assert models.asked[0].champion == model("b")
    assert (fact.verdict, fact.champion_version) == ("failed", 2)
    assert fact.champion == metrics("b", 0.9)
    assert "worse by 10 points, more than the margin of 2 points." in fact.sentence


async def test_a_candidate_overtaken_by_a_newer_dataset_fails_even_if_better() -> None:
    fact = await judged(FakeModels(0.95, 0.8), CARD, promoted(dataset_number=5))
    assert isinstance(fact, EvaluationCompleted)
    assert fact.verdict == "failed"
    assert "overtaken" in fact.sentence


async def test_every_gate_of_the_card_is_judged_with_its_number() -> None:
    gates = Gates(
        floors=(),
        compare="macro_recall",
        macro_f1_at_least=0.7,
        gain=0.1,
        p_value_at_most=0.05,
        misses=(Misses(label="defective", at_most=0.6),),
        slices=Slices(keys=("camera",), metric="recall.defective", at_least=0.5, min_images=5),
        calibration_error_at_most=0.1,
        size_mb_at_most=1,
    )
    card = ScopeCard(
        project="solar",
        data=Data(classes=CLASSES, renamed={"broken": "defective", "functional": "defective"}),
        gates=gates,
    )
    models = FakeModels(0.8, 0.65)
    models.candidate = models.candidate.model_copy(
        update={"macro_f1": Interval(value=0.75), "calibration": Calibration(error=0.04, brier=0.1, bins=())}
    )
    comparison = Comparison(
        metric="macro_recall", images=20, difference=0.15, low=0.1, high=0.2, p_value=0.01, test="bootstrap",
        only_candidate_right=4, only_champion_right=1,
    )  # fmt: skip
    assert models.shared
    models.shared = models.shared.model_copy(update={"comparison": comparison})
    part = SliceMetrics(key="camera", value="3", metric="recall.defective", images=5, score=Interval(value=0.6))
    models.slices = (part,)
    fact = await judged(models, ProjectDefined(card=card), promoted())
    assert isinstance(fact, EvaluationCompleted)
    assert fact.verdict == "passed", fact.sentence
    assert [(gate.gate, gate.value, gate.limit) for gate in fact.gates] == [
        ("test set", 10, 5),
        ("better than guessing", 0.8, 0.5),
        ("floor: macro_f1", 0.75, 0.7),
        ("misses: defective", pytest.approx(0.507, abs=5e-4), 0.6),
        ("slices: recall.defective", 0.6, 0.5),
        ("calibration", 0.04, 0.1),
        ("size", 3e-6, 1),
        ("not overtaken", 4, 3),
        ("champion: macro_recall", 0.8, pytest.approx(0.75)),
        ("significance: macro_recall", 0.01, 0.05),
    ]
    assert (fact.comparison, fact.slices) == (comparison, (part,))
    (job,) = models.asked
    assert (job.compare, job.slice_metric, job.slice_keys) == ("macro_recall", "recall.defective", ("camera",))
    assert job.renamed == {"broken": "defective"}


@given(drawn=instances(Gates.model_json_schema()), accuracy=st.floats(0, 1))
@settings(deadline=None, max_examples=200)
def test_any_gates_of_a_card_give_a_verdict_in_whole_sentences(drawn: dict[str, Any], accuracy: float) -> None:
    gates = Gates.model_validate(drawn)
    card = ScopeCard.model_construct(project="solar", data=CARD.card.data, gates=gates)
    models = FakeModels(accuracy, 0.8)
    models.slices = (
        SliceMetrics(key="camera", value="3", metric="accuracy", images=30, score=Interval(value=accuracy)),
    )
    for said in ((), (promoted(),)):
        fact = asyncio.run(judged(models, ProjectDefined.model_construct(card=card), *said))
        assert isinstance(fact, EvaluationCompleted)
        assert (fact.verdict == "passed") == all(gate.passed for gate in fact.gates)
        for sentence in (fact.sentence, *(gate.sentence for gate in fact.gates)):
            assert sentence[0].isupper() or sentence[0].isdigit()
            assert sentence.endswith((".", "?"))


async def test_judged_twice_it_is_the_same_fact() -> None:
    assert await judged(FakeModels(0.8, 0.79), CARD, promoted()) == await judged(
        FakeModels(0.8, 0.79), CARD, promoted()
    )


@pytest.mark.parametrize(
    ("models", "said", "reason"),
    [
        (FakeModels(0.8), (), "has no scope card"),
        (FakeModels(0.8, raises=CannotJudge("the model is gone")), (CARD,), "the model is gone"),
    ],
)
async def test_what_cannot_be_judged_at_all_is_answered(
    models: FakeModels, said: tuple[Event, ...], reason: str
) -> None:
    fact = await judged(models, *said)
    assert isinstance(fact, EvaluationFailed)
    assert reason in fact.reason
    assert (fact.run_id, fact.model_sha256) == ("run-4", "a" * 64)


async def test_what_may_work_later_is_tried_again() -> None:
    with pytest.raises(Retry):
        await judged(FakeModels(0.8, raises=Retry("the child died")), CARD)


def test_every_metric_that_a_card_may_name_has_a_value() -> None:
    named = values(metrics("a", 0.8))
    assert set(named) == {
        "accuracy",
        "macro_recall",
        "macro_f1",
        "roc_auc",
        *(f"{kind}.{name}" for kind in ("recall", "precision") for name in CLASSES),
    }
    assert values(None) == {}
