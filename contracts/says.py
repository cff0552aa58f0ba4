"""SAYS: which events each service says. What others may say stands in `permissions.py`, with all that goes with it."""

from collections.abc import Mapping

from contracts.events import (
    dataset,
    deployment,
    drift,
    evaluation,
    feedback,
    image,
    label,
    message,
    model,
    prediction,
    training,
)
from contracts.events.base import Event

# Whoever hears may have to give a message up.
_ALL = (message.MessageDeadLettered,)

SAYS: Mapping[str, tuple[type[Event], ...]] = {
    "labeling-sync": (
        image.ImageAdded,
        image.ImageRejected,
        label.LabelSubmitted,
        label.LabelWithdrawn,
        label.LabelDoubted,
        dataset.DatasetVersioned,
        dataset.DatasetRejected,
        feedback.FeedbackRejected,
        *_ALL,
    ),
    "trainer": (
        training.TrainingStarted,
        training.TrainingProgressed,
        training.TrainingCompleted,
        training.TrainingFailed,
        training.TrainingCancelled,
        *_ALL,
    ),
    "evaluator": (
        evaluation.EvaluationCompleted,
        evaluation.EvaluationFailed,
        drift.DriftDetected,
        # Where the card lets the watch retrain.
        training.TrainingRequested,
        *_ALL,
    ),
    "registry": (
        model.ModelRegistered,
        model.ModelApprovalRequested,
        model.ModelApproved,
        model.ModelPromoted,
        # Of a run that somebody registered by hand.
        training.TrainingCompleted,
        training.TrainingFailed,
        *_ALL,
    ),
    "deployer": (
        deployment.DeploymentStarted,
        deployment.DeploymentCompleted,
        deployment.DeploymentFailed,
        *_ALL,
    ),
    "predictor": (prediction.PredictionCompleted, prediction.PredictionFailed, *_ALL),
}
