"""One function per event heard."""

from collections.abc import Sequence

from contracts.events.base import Event
from contracts.events.evaluation import (
    EvaluationCompleted,
    EvaluationFailed,
    GateResult,
    Metrics,
)
from contracts.events.model import ModelPromoted, ModelVersion
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingCompleted
from contracts.project import Gates, ScopeCard
from services.chassis.heard import Heard
from services.evaluator.comparison import Comparison
from services.evaluator.gates import judge
from services.evaluator.gates.shapes import Candidate, Champion, Limits, MissesLimit, SlicesLimit
from services.evaluator.job import Compared, Job, Shared
from services.evaluator.metrics import by_name
from services.evaluator.ports import CannotJudge, Facts, Models
from services.evaluator.slices import Slice


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
    card = defined[0].card
    try:
        compared = await models.compare(_job(event, heard.project, card, champion))
    except CannotJudge as error:
        return [_failed(event, str(error))]
    judgement = judge(
        limits(card.gates),
        _candidate(compared, event),
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
            comparison=compared.shared.comparison if compared.shared else None,
            slices=compared.slices,
            champion_version=champion.version if champion else None,
            plan=event.plan,
            dataset_number=event.dataset_number,
            manifest=event.manifest,
            run_id=event.run_id,
            model=event.model,
        )
    ]


def _job(event: TrainingCompleted, project: str, card: ScopeCard, champion: ModelVersion | None) -> Job:
    slices = card.gates.slices
    return Job(
        project=project,
        manifest=event.manifest,
        candidate=event.model,
        champion=champion.model if champion else None,
        compare=card.gates.compare,
        slice_metric=slices.metric if slices else "accuracy",
        slice_keys=slices.keys if slices else (),
        renamed=card.data.former_names,
    )


def limits(gates: Gates) -> Limits:
    """The card's gates."""
    floors = [(floor.metric, floor.at_least) for floor in gates.floors]
    if gates.macro_f1_at_least is not None:
        floors.append(("macro_f1", gates.macro_f1_at_least))
    parts = gates.slices
    return Limits(
        floors=tuple(floors),
        compare=gates.compare,
        margin=gates.margin,
        min_test_per_class=gates.min_test_per_class,
        gain=gates.gain,
        p_value_at_most=gates.p_value_at_most,
        misses=tuple(MissesLimit(one.label, one.at_most, one.confidence) for one in gates.misses),
        slices=SlicesLimit(parts.keys, parts.metric, parts.at_least, parts.min_images) if parts else None,
        calibration_error_at_most=gates.calibration_error_at_most,
        size_mb_at_most=gates.size_mb_at_most,
        better_than_guessing=gates.better_than_guessing,
    )


def values(metrics: Metrics | None) -> dict[str, float | None]:
    """Every number that a gate may name."""
    return {name: number.value for name, number in by_name(metrics).items()} if metrics else {}


def _candidate(compared: Compared, event: TrainingCompleted) -> Candidate:
    metrics = compared.candidate
    return Candidate(
        values=values(metrics),
        support={one.label: one.support for one in metrics.classes},
        right={
            one.label: row[place]
            for place, (one, row) in enumerate(zip(metrics.classes, metrics.confusion, strict=True))
        },
        dataset_number=event.dataset_number,
        macro_recall_low=metrics.macro_recall.low,
        calibration_error=metrics.calibration.error if metrics.calibration else None,
        size_mb=event.model.file.size_bytes / 1e6,
        slices=tuple(Slice(one.key, one.value, one.metric, one.images, one.score) for one in compared.slices),
    )


def _champion(version: ModelVersion, shared: Shared) -> Champion:
    return Champion(
        version=version.version,
        dataset_number=version.dataset_number,
        values=values(shared.champion),
        candidate_values=values(shared.candidate),
        images=shared.images,
        comparison=Comparison(**shared.comparison.model_dump()) if shared.comparison else None,
        only_candidate_knows=shared.only_candidate_knows,
        only_champion_knows=shared.only_champion_knows,
    )


def _failed(event: TrainingCompleted, reason: str) -> EvaluationFailed:
    return EvaluationFailed(run_id=event.run_id, model_sha256=event.model.file.sha256, reason=reason)
