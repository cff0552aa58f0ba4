"""SAYS: which events each service says. What others may say stands in `permissions.py`, with all that goes with it."""

from collections.abc import Mapping

from contracts.events import (
    dataset,
    deployment,
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
    "evaluator": (evaluation.EvaluationCompleted, evaluation.EvaluationFailed, *_ALL),
    "registry": (model.ModelRegistered, model.ModelApproved, model.ModelPromoted, *_ALL),
    "deployer": (
        deployment.DeploymentStarted,
        deployment.DeploymentCompleted,
        deployment.DeploymentFailed,
        *_ALL,
    ),
    "predictor": (prediction.PredictionCompleted, prediction.PredictionFailed, *_ALL),
}
