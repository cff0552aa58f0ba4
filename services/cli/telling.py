"""Every event as a sentence for a person. `loopline watch`, `loopline status` and the demo speak with it."""

from collections.abc import Callable
from typing import Any

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.dataset import DatasetRejected, DatasetRequested, DatasetVersioned
from contracts.events.deployment import DeploymentCompleted, DeploymentFailed, DeploymentStarted
from contracts.events.drift import DriftDetected
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed
from contracts.events.feedback import FeedbackGiven, FeedbackRejected
from contracts.events.image import ImageAdded, ImageRejected
from contracts.events.label import LabelDoubted, LabelSubmitted, LabelWithdrawn
from contracts.events.message import MessageDeadLettered, MessageDiscarded, MessageReplayed
from contracts.events.model import (
    ModelApprovalRequested,
    ModelApproved,
    ModelDemoted,
    ModelPromoted,
    ModelRegistered,
    ModelRejected,
)
from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested
from contracts.events.project import ProjectDefined
from contracts.events.training import (
    TrainingCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingPlan,
    TrainingProgressed,
    TrainingRequested,
    TrainingStarted,
)

# A verdict in which several gates failed tells each of them.
_LONGEST = 800


def tell(event: Event, envelope: Envelope, *, of: bool = False) -> str:
    """A line: local time, the event's name, what it says; with the project in between where `of`."""
    at = envelope.time.astimezone().strftime("%H:%M:%S")
    project = f"  {envelope.project:<10}" if of else ""
    return f"{at}{project}  {event.name():<21}  {sentence_of(event)}"


def sentence_of(event: Event) -> str:
    """What an event says, in one line. One that nobody taught it to tell is told by its fields."""
    sentence = TELLERS[type(event)](event) if type(event) in TELLERS else event.model_dump_json()
    line = " ".join(sentence.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _project(event: ProjectDefined) -> str:
    card = event.card
    return f"{len(card.data.classes)} classes: {', '.join(card.data.classes)}; recipe {card.model.recipe}"


def _image(event: ImageAdded) -> str:
    size = f"{event.image.width} x {event.image.height}"
    known = f", {event.label} says {event.labelled_by or 'somebody'}" if event.label else ", to be labelled"
    return f"image {event.image.sha256[:8]}, {size}, {event.chosen}{known}"


def _labelled(event: LabelSubmitted) -> str:
    by = f" by {event.annotator}" if event.annotator else ""
    return f"image {event.image_sha256[:8]} is {event.label}{by}"


def _withdrawn(event: LabelWithdrawn) -> str:
    by = f" by {event.annotator}" if event.annotator else ""
    return f"image {event.image_sha256[:8]} is no longer {event.label}: the label{by} was {event.why}"


def _doubted(event: LabelDoubted) -> str:
    odds = f"{event.likelier_probability:.0%} against {event.label_probability:.0%}"
    image = f"image {event.image_sha256[:8]} is labelled {event.label} and looks like {event.likelier} ({odds})"
    return f"{image}: task {event.task_id} is for a second look"


def _versioned(event: DatasetVersioned) -> str:
    counts = ", ".join(f"{c.train + c.validation + c.test} {c.label}" for c in event.counts)
    left_out = f"; {sum(one.count for one in event.left_out)} left out" if event.left_out else ""
    labels = f"{event.labels} labels, {event.new_labels} new; {counts}{left_out}"
    return f"dataset {event.number} ({event.dataset_id}): {labels}"


def _refused(event: DatasetRejected) -> str:
    return "no dataset: " + "; ".join(check.sentence for check in event.checks)


def _plan(plan: TrainingPlan) -> str:
    return f"{plan.recipe} on dataset {plan.dataset_id}, seed {plan.seed}{_parameters(plan.parameters)}"


def _parameters(parameters: dict[str, Any]) -> str:
    return "".join(f", {name}={value}" for name, value in parameters.items() if value is not None)


def _training_requested(event: TrainingRequested) -> str:
    again = ", again" if event.again else ""
    why = f": {event.why}" if event.why else ""
    recipe, dataset = event.recipe or "the card's recipe", event.dataset_id or "the newest dataset"
    return f"{recipe} on {dataset}{_parameters(event.parameters)}{again}{why}"


def _progressed(event: TrainingProgressed) -> str:
    metrics = "".join(f", {name} {value:.4g}" for name, value in event.metrics.items())
    return f"{event.stage} {event.done} of {event.total}{metrics}"


def _trained(event: TrainingCompleted) -> str:
    accuracy = event.metrics.get("validation_accuracy")
    known = "" if accuracy is None else f", validation accuracy {accuracy:.1%}"
    return f"{_plan(event.plan)}: {event.seconds:.1f} s{known}; run {event.run_id}"


def _judged(event: EvaluationCompleted) -> str:
    accuracy = event.candidate.accuracy
    number = (
        [] if accuracy.value is None else [f"Accuracy {accuracy.value:.1%} on {event.candidate.test_images} images."]
    )
    broken = [gate.sentence for gate in event.gates if not gate.passed and gate.sentence not in event.sentence]
    return " ".join([event.sentence, *broken, *number, *event.remarks])


def _registered(event: ModelRegistered) -> str:
    return (
        f"version {event.version.version}, from dataset {event.version.dataset_number} and run {event.version.run_id}"
    )


def _approved(event: ModelApproved) -> str:
    instead = f", instead of version {event.instead_of}" if event.instead_of else ""
    return f"version {event.version.version}{instead}, by {event.approved_by}: {event.why}"


def _promoted(event: ModelPromoted) -> str:
    former = f", previously {event.previous_version}" if event.previous_version else ""
    return f"version {event.version.version} is the champion{former}"


def _rollout(event: DeploymentStarted) -> str:
    return f"version {event.version.version} to {', '.join(event.nodes)}"


def _deployed(event: DeploymentCompleted) -> str:
    checks = ", ".join(
        f"{check.node}: loaded in {check.load_s:.1f} s, {check.golden_images} golden images agree"
        for check in event.checks
    )
    return f"version {event.version.version} serves" + (f"; {checks}" if checks else "")


def _not_deployed(event: DeploymentFailed) -> str:
    return f"version {event.version.version} on {event.node}: {event.reason}"


def _asked(event: PredictionRequested) -> str:
    return f"an image {'at ' + event.image_uri if event.image_uri else 'in the event'}"


def _answered(event: PredictionCompleted) -> str:
    return (
        f"{event.label}, {event.confidence:.0%} sure; version {event.model_version} on {event.node}, "
        f"{event.timings.total_ms:.0f} ms; {event.prediction_id}"
    )


def _unanswered(event: PredictionFailed) -> str:
    return f"{event.prediction_id}: {event.reason}"


def _corrected(event: FeedbackGiven) -> str:
    right = event.correct == event.predicted
    verdict = "is right" if right else f"is {event.correct}, not {event.predicted}"
    return f"{event.prediction_id} {verdict}, says {event.given_by}"


def _buried(event: MessageDeadLettered) -> str:
    number = f"dead letter {event.letter}" if event.letter else "a dead letter"
    tries = "1 try" if event.tries == 1 else f"{event.tries} tries"
    return f"{number}, {event.durable} gave up after {tries}: {event.reason}"


def _redone(event: MessageReplayed) -> str:
    return f"dead letter {event.letter} went back to {event.durable}, says {event.replayed_by or 'somebody'}"


def _discarded(event: MessageDiscarded) -> str:
    return f"dead letter {event.letter} of {event.durable}, says {event.discarded_by or 'somebody'}: {event.why}"


TELLERS: dict[type[Event], Callable[[Any], str]] = {
    ProjectDefined: _project,
    ImageAdded: _image,
    ImageRejected: lambda event: f"image {event.image.sha256[:8]}: {event.reason}",
    LabelSubmitted: _labelled,
    LabelWithdrawn: _withdrawn,
    LabelDoubted: _doubted,
    DatasetRequested: lambda event: event.why or "freeze the labels now",
    DatasetVersioned: _versioned,
    DatasetRejected: _refused,
    DriftDetected: lambda event: f"{event.kind}: {event.sentence}",
    TrainingRequested: _training_requested,
    TrainingStarted: lambda event: f"{_plan(event.plan)}, by {event.trainer}",
    TrainingProgressed: _progressed,
    TrainingCompleted: _trained,
    TrainingFailed: lambda event: event.reason,
    TrainingCancelled: lambda event: event.reason,
    EvaluationCompleted: _judged,
    EvaluationFailed: lambda event: f"run {event.run_id}: {event.reason}",
    ModelRegistered: _registered,
    ModelApprovalRequested: lambda event: f"version {event.version.version} waits for a person: {event.why}",
    ModelApproved: _approved,
    ModelRejected: lambda event: f"version {event.version.version}, by {event.rejected_by}: {event.why}",
    ModelDemoted: lambda event: f"version {event.version.version}, by {event.demoted_by}: {event.why}",
    ModelPromoted: _promoted,
    DeploymentStarted: _rollout,
    DeploymentCompleted: _deployed,
    DeploymentFailed: _not_deployed,
    MessageDeadLettered: _buried,
    MessageReplayed: _redone,
    MessageDiscarded: _discarded,
    PredictionRequested: _asked,
    PredictionCompleted: _answered,
    PredictionFailed: _unanswered,
    FeedbackGiven: _corrected,
    FeedbackRejected: lambda event: f"{event.prediction_id}: {event.reason}",
}
