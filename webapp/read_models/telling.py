"""What a fact says in a few words, and whether it is good news."""

from typing import Literal

from contracts.events.base import Event
from contracts.events.dataset import DatasetRejected, DatasetRequested, DatasetVersioned
from contracts.events.deployment import DeploymentCompleted, DeploymentFailed, DeploymentStarted
from contracts.events.drift import DriftDetected
from contracts.events.evaluation import EvaluationCompleted, EvaluationFailed
from contracts.events.feedback import FeedbackGiven, FeedbackRejected
from contracts.events.image import ImageAdded, ImageRejected
from contracts.events.label import LabelDoubted, LabelSubmitted, LabelWithdrawn
from contracts.events.model import (
    ModelApprovalRequested,
    ModelApproved,
    ModelDemoted,
    ModelPromoted,
    ModelRegistered,
    ModelRejected,
)
from contracts.events.prediction import PredictionCompleted, PredictionFailed
from contracts.events.training import (
    TrainingCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingProgressed,
    TrainingRequested,
    TrainingStarted,
)

Tone = Literal["good", "bad", "busy", "waiting"]

_STAGES = {"features": "features", "fit": "fitting", "export": "exporting", "log": "logging"}


def told(event: Event) -> tuple[str, Tone]:
    """In words; TypeError for a fact that no page tells of."""
    match event:
        case DatasetRequested():
            return "asked for", "waiting"
        case DatasetVersioned():
            left_out = sum(one.count for one in event.left_out)
            more = f"; {left_out:,} left out" if left_out else ""
            return f"{event.number} with {event.labels:,} labels, {event.new_labels:,} of them new{more}", "good"
        case DatasetRejected():
            return f"refused: {event.checks[0].sentence}", "bad"
        case TrainingRequested():
            return f"asked for{f': {event.why}' if event.why else ''}", "waiting"
        case TrainingStarted():
            return "started", "busy"
        case TrainingProgressed():
            return f"{_STAGES[event.stage]} {event.done:,} of {event.total:,}", "busy"
        case TrainingCompleted():
            return f"done in {event.seconds:.0f} s on dataset {event.dataset_number}", "good"
        case TrainingFailed():
            return f"failed: {event.reason}", "bad"
        case TrainingCancelled():
            return f"cancelled: {event.reason}", "waiting"
        case EvaluationCompleted():
            return (
                " ".join([event.sentence, *event.remarks]),
                "good" if event.verdict == "passed" else "bad",
            )
        case EvaluationFailed():
            return f"could not be judged: {event.reason}", "bad"
    return _told_around_the_model(event)


def _told_around_the_model(event: Event) -> tuple[str, Tone]:
    match event:
        case ModelRegistered():
            return f"v{event.version.version} registered", "good"
        case ModelApprovalRequested():
            return f"v{event.version.version} waits for a person: {event.why}", "waiting"
        case ModelRejected():
            return f"v{event.version.version} rejected by {event.rejected_by}: {event.why}", "bad"
        case ModelDemoted():
            return f"v{event.version.version} demoted by {event.demoted_by}: {event.why}", "bad"
        case ModelApproved():
            return f"v{event.version.version} approved by {event.approved_by}: {event.why}", "good"
        case ModelPromoted():
            return f"v{event.version.version} is the champion", "good"
        case DeploymentStarted():
            return f"rolling out v{event.version.version}", "busy"
        case DeploymentCompleted():
            return f"v{event.version.version} serves", "good"
        case DeploymentFailed():
            return f"the rollout of v{event.version.version} failed: {event.reason}", "bad"
        case PredictionCompleted():
            return f"{event.label}, {event.confidence:.0%} sure, by v{event.model_version}", "good"
        case DriftDetected():
            return event.sentence, "bad"
        case PredictionFailed():
            return f"no answer: {event.reason}", "bad"
        case ImageAdded():
            return f"an image came{f', labelled {event.label}' if event.label else ''}", "good"
        case ImageRejected():
            return f"an image was refused: {event.reason}", "bad"
        case LabelSubmitted():
            return f"{event.label}{f', says {event.annotator}' if event.annotator else ''}", "good"
        case LabelWithdrawn():
            return f"no longer {event.label}: the label was {event.why}", "waiting"
        case LabelDoubted():
            return f"{event.label} looks like {event.likelier}: task {event.task_id} is for a second look", "waiting"
        case FeedbackGiven():
            return f"{event.correct}, not {event.predicted}" if event.correct != event.predicted else "right", "good"
        case FeedbackRejected():
            return f"a correction was refused: {event.reason}", "bad"
    raise TypeError(f"{event.name()} is told nowhere")
