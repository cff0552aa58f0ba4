"""One function per event heard."""

from collections.abc import Sequence

from contracts.events.base import Event
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed, GateResult, Metrics
from contracts.events.model import ModelPromoted, ModelVersion
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingCompleted
from contracts.project import Gates
from services.chassis.heard import Heard
from services.evaluator.gates import Candidate, Champion, Limits, judge
from services.evaluator.job import Job, Shared
from services.evaluator.ports import CannotJudge, Facts, Models


async def on_training_completed(
    event: TrainingCompleted, heard: Heard, *, facts: Facts, models: Models
) -> Sequence[Event]:
    """Judge the candidate beside the champion of today.

    Needs no claim: nothing is changed but kept answers, and a second judgement of one candidate is the same fact.
    """
    defined = await facts.last(ProjectDefined, heard.project)
    if defined is None:
        reason = f"the project {heard.project} has no scope card: apply one with `loopline project apply FILE`"
        return [_failed(event, reason)]
    promoted = await facts.last(ModelPromoted, heard.project)
    champion = promoted[0].version if promoted else None
    job = Job(
        project=heard.project,
        manifest=event.manifest,
        candidate=event.model,
        champion=champion.model if champion else None,
    )
    try:
        compared = await models.compare(job)
    except CannotJudge as error:
        return [_failed(event, str(error))]
    judgement = judge(
        limits(defined[0].card.gates),
        Candidate(values(compared.candidate), support(compared.candidate), event.dataset_number),
        _champion(champion, compared.shared) if champion and compared.shared else None,
    )
    return [
        EvaluationCompleted(
            verdict=judgement.verdict,
            sentence=judgement.sentence,
            gates=tuple(
                GateResult(
                    gate=gate.name, passed=gate.passed, value=gate.value, limit=gate.limit, sentence=gate.sentence
                )
                for gate in judgement.gates
            ),
            candidate=compared.candidate,
            champion=compared.shared.champion if compared.shared else None,
            champion_version=champion.version if champion else None,
            plan=event.plan,
            dataset_number=event.dataset_number,
            manifest=event.manifest,
            run_id=event.run_id,
            model=event.model,
        )
    ]


def limits(gates: Gates) -> Limits:
    """The card's gates."""
    floors = tuple((floor.metric, floor.at_least) for floor in gates.floors)
    return Limits(floors, gates.compare, gates.margin, gates.min_test_per_class)


def values(metrics: Metrics | None) -> dict[str, float | None]:
    """Every number that a gate may name."""
    if metrics is None:
        return {}
    return {
        "accuracy": metrics.accuracy.value,
        "macro_recall": metrics.macro_recall.value,
        "roc_auc": metrics.roc_auc.value,
        **{f"recall.{one.label}": one.recall.value for one in metrics.classes},
        **{f"precision.{one.label}": one.precision.value for one in metrics.classes},
    }


def support(metrics: Metrics) -> dict[str, int]:
    """Test images by class."""
    return {one.label: one.support for one in metrics.classes}


def _champion(version: ModelVersion, shared: Shared) -> Champion:
    return Champion(
        version=version.version,
        dataset_number=version.dataset_number,
        values=values(shared.champion),
        candidate_values=values(shared.candidate),
        images=shared.images,
        only_candidate_knows=shared.only_candidate_knows,
        only_champion_knows=shared.only_champion_knows,
    )


def _failed(event: TrainingCompleted, reason: str) -> EvaluationFailed:
    return EvaluationFailed(run_id=event.run_id, model_sha256=event.model.file.sha256, reason=reason)
