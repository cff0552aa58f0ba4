"""STREAMS, CONSUMERS, BUCKETS: the only place with subjects, durables, waits and retries.

The provisioner makes the server agree with these tables; services only name what they use.
"""

from dataclasses import dataclass
from typing import Literal

from contracts.events import (
    dataset,
    deployment,
    evaluation,
    feedback,
    image,
    model,
    prediction,
    project,
    training,
)
from contracts.events.base import Event

DAY_S = 86_400


@dataclass(frozen=True)
class Stream:
    """A JetStream stream. `max_age_s` 0 keeps for ever, `per_subject` 0 any number.

    `fires` are the events that message schedules on it say. They go into the stream whose `takes_from` names it.
    """

    name: str
    subjects: tuple[str, ...]
    retention: Literal["limits", "interest"]
    discard: Literal["old", "new"]
    max_age_s: float
    max_bytes: int
    duplicate_window_s: float
    per_subject: int = 0
    fires: tuple[type[Event], ...] = ()
    takes_from: str = ""


@dataclass(frozen=True)
class Consumer:
    """A durable: one kind of work, shared by the replicas of one service.

    `pauses_s` are the waits before the second, third, … try; one more failure than there are pauses is a dead letter.
    """

    durable: str
    stream: str
    hears: tuple[type[Event], ...]
    ack_wait_s: float = 15
    pauses_s: tuple[float, ...] = (1, 5, 30, 120)
    at_once: int = 1
    deliver: Literal["all", "new"] = "all"

    @property
    def service(self) -> str:
        """`trainer` of `trainer-training`."""
        return next(name for name in SERVICES if self.durable.startswith(f"{name}-"))

    @property
    def keep_alive_s(self) -> float:
        """How often the server is told that a message is being worked on."""
        return self.ack_wait_s / 5

    @property
    def redo_subject(self) -> str:
        """Where a dead letter is sent to be tried again by this durable alone."""
        return f"redo.{self.durable}"


@dataclass(frozen=True)
class Bucket:
    """A key-value bucket. `ttl_s` 0 keeps for ever."""

    name: str
    ttl_s: float
    history: int = 1


SERVICES = ("labeling-sync", "trainer", "evaluator", "registry", "deployer", "predictor")

LOOP = "LOOP"
PREDICTIONS = "PREDICTIONS"
REQUESTS = "REQUESTS"
DEAD = "DEAD"
SCHEDULES = "SCHEDULES"

_LOOP_ENTITIES = (
    "project", "image", "dataset", "label", "training", "evaluation", "model", "deployment", "feedback", "drift",
    "message",
)  # fmt: skip

SCHEDULED = (training.TrainingRequested, dataset.DatasetRequested)


def schedule_subject(project: str, name: str) -> str:
    """Where a schedule is kept; its last message is what holds."""
    return f"loopline-schedule.{project}.{name}"


def due_subject(event: type[Event], project: str) -> str:
    """Where a schedule says an event, on its way to the stream of the loop."""
    return f"loopline-due.{project}.{event.name()}"


STREAMS = (
    # A stream of its own, because a stream with schedules lets everyone who may publish to it purge it by a header
    # (`Nats-Rollup`). What a schedule fires is taken over into LOOP at once; a few are kept here to be looked at.
    Stream(
        SCHEDULES,
        (schedule_subject("*", "*"), *(due_subject(event, "*") for event in SCHEDULED)),
        retention="limits",
        discard="old",  # the server wants it so where there are schedules; few a subject, so that none is dropped
        max_age_s=0,
        max_bytes=64 * 2**20,
        duplicate_window_s=120,
        per_subject=8,
        fires=SCHEDULED,
    ),
    # The audit log of the loop: facts are few and kept. `new`: the oldest facts are the cards, without which nothing
    # works, so a full stream makes who speaks wait instead of forgetting them.
    Stream(
        LOOP,
        tuple(f"loopline.*.{entity}.>" for entity in _LOOP_ENTITIES),
        retention="limits",
        discard="new",
        max_age_s=0,
        max_bytes=8 * 2**30,
        duplicate_window_s=2 * 3600,
        takes_from=SCHEDULES,
    ),
    Stream(
        PREDICTIONS,
        ("loopline.*.prediction.completed", "loopline.*.prediction.failed"),
        retention="limits",
        discard="old",
        max_age_s=30 * DAY_S,
        max_bytes=8 * 2**30,
        duplicate_window_s=120,
    ),
    # Interest and `new`: what was answered makes room, and a full stream slows the camera instead of losing a picture.
    Stream(
        REQUESTS,
        ("loopline.*.prediction.requested",),
        retention="interest",
        discard="new",
        max_age_s=0,
        max_bytes=2 * 2**30,
        duplicate_window_s=120,
    ),
    Stream(
        DEAD,
        ("loopline-dead.>",),
        retention="limits",
        discard="old",
        max_age_s=90 * DAY_S,
        max_bytes=2**30,
        duplicate_window_s=2 * 3600,
    ),
)

CONSUMERS = (
    Consumer("labeling-sync-projects", LOOP, (project.ProjectDefined,)),
    Consumer("labeling-sync-images", LOOP, (image.ImageAdded,), at_once=64),
    Consumer("labeling-sync-datasets", LOOP, (dataset.DatasetRequested,)),
    Consumer("labeling-sync-feedback", LOOP, (feedback.FeedbackGiven,), at_once=8),
    # Doubts about the labels of long ago are settled: a new durable does not go through them.
    Consumer("labeling-sync-doubts", LOOP, (training.TrainingCompleted,), deliver="new"),
    Consumer("trainer-training", LOOP, (dataset.DatasetVersioned, training.TrainingRequested)),
    Consumer("evaluator-judging", LOOP, (training.TrainingCompleted,)),
    Consumer(
        "registry-versions",
        LOOP,
        (
            evaluation.EvaluationCompleted,
            evaluation.EvaluationFailed,
            model.ModelRejected,
            model.ModelDemoted,
            deployment.DeploymentCompleted,
        ),
    ),
    Consumer("deployer-rollouts", LOOP, (model.ModelApproved,)),
    Consumer("predictor-requests", REQUESTS, (prediction.PredictionRequested,), pauses_s=(0.5, 2, 10, 30), at_once=32),
)

DEPLOYMENTS = "deployments"
CLAIMS = "claims"
CURSORS = "cursors"
WATCHED = "watched"

BUCKETS = (
    # project -> what should serve and what does; written by the deployer alone.
    Bucket(DEPLOYMENTS, ttl_s=0, history=16),
    # natural key of a piece of work -> who does it, then its result.
    Bucket(CLAIMS, ttl_s=0),
    # project -> how far labeling-sync has read; written by labeling-sync alone.
    Bucket(CURSORS, ttl_s=0),
    # project -> what the watch saw last, and what it compares with; written by the evaluator alone.
    Bucket(WATCHED, ttl_s=0),
)


def consumer(durable: str) -> Consumer:
    """The row of a durable; KeyError when the topology has none of that name."""
    for row in CONSUMERS:
        if row.durable == durable:
            return row
    raise KeyError(durable)


def stream_of(event: type[Event]) -> str:
    """The stream that stores an event."""
    entity = event.name().split(".")[0]
    if event is prediction.PredictionRequested:
        return REQUESTS
    return PREDICTIONS if entity == "prediction" else LOOP


def ask_subject(project: str) -> str:
    """Where a prediction is asked for by request-reply: outside every stream, or the PubAck would be the answer."""
    return f"ask.{project}.predict"


def dead_subject(stream: str, durable: str) -> str:
    """Where what could not be handled goes."""
    return f"loopline-dead.{stream}.{durable}"
