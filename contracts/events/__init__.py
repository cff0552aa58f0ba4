"""Every event of the loop. `EVENTS` maps a CloudEvents type to its model; one module an entity."""

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
    project,
    training,
)
from contracts.events.base import EVENTS, BlobRef, Event, ImageRef

__all__ = [
    "EVENTS",
    "BlobRef",
    "Event",
    "ImageRef",
    "dataset",
    "deployment",
    "drift",
    "evaluation",
    "feedback",
    "image",
    "label",
    "message",
    "model",
    "prediction",
    "project",
    "training",
]
