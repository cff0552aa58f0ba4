"""USERS: who may say, read and keep what on the bus, and the NATS subjects that this comes to.

What is not in here is refused by the server. Streams, durables and buckets come from the topology, the events of the
services from SAYS. A subject is `*` for one token and `>` for the rest; a denial wins over what is allowed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.events import EVENTS, dataset, feedback, message, model, prediction, training
from contracts.events.base import Event
from contracts.says import SAYS
from contracts.topology import (
    BUCKETS,
    CLAIMS,
    CONSUMERS,
    CURSORS,
    DEAD,
    DEPLOYMENTS,
    LOOP,
    PREDICTIONS,
    SCHEDULES,
    SERVICES,
    STREAMS,
    WATCHED,
    Stream,
    ask_subject,
    dead_subject,
    schedule_subject,
)

_API = "$JS.API"


@dataclass(frozen=True)
class User:
    """Somebody with a password on the bus.

    `reads` are streams, `writes` buckets. `looks` allows asking how streams and durables are, and reading every bucket;
    `asks` allows asking for a prediction; who does both may ask services whether they are there. An operator tends
    dead letters and schedules; a provisioner makes streams, durables and buckets.
    """

    name: str
    says: tuple[type[Event], ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    looks: bool = True
    asks: bool = False
    operates: bool = False
    provisions: bool = False

    @property
    def inbox(self) -> str:
        """What the subjects of its replies begin with: a shared one would let users read each other's replies."""
        return inbox_prefix(self.name)

    @property
    def meets_services(self) -> bool:
        """Whether it may ask services whether they are there."""
        return self.looks and self.asks


@dataclass(frozen=True)
class Permissions:
    """Subjects of one user, as nats-server wants them."""

    publish: tuple[str, ...]
    publish_denied: tuple[str, ...]
    subscribe: tuple[str, ...]


def inbox_prefix(user: str) -> str:
    """`_INBOX_camera` of `camera`; `_INBOX` where there is no user. No character of a name becomes a wildcard."""
    safe = "".join(char if char.isalnum() or char in "-_" else "_" for char in user)
    return f"_INBOX_{safe}" if safe else "_INBOX"


_READS = {"labeling-sync": (LOOP, PREDICTIONS), "evaluator": (LOOP, PREDICTIONS)}
_WRITES = {"labeling-sync": (CLAIMS, CURSORS), "deployer": (CLAIMS, DEPLOYMENTS), "evaluator": (CLAIMS, WATCHED)}

USERS = (
    *(User(name, SAYS[name], _READS.get(name, (LOOP,)), _WRITES.get(name, (CLAIMS,))) for name in SERVICES),
    # A person who runs the place, and `loopline publish` says whatever it is told.
    User("cli", tuple(EVENTS.values()), (LOOP, PREDICTIONS, DEAD, SCHEDULES), asks=True, operates=True),
    User(
        "webapp",
        (
            dataset.DatasetRequested,
            training.TrainingRequested,
            training.TrainingCancelled,
            prediction.PredictionRequested,
            model.ModelApproved,
            model.ModelRejected,
            model.ModelDemoted,
            feedback.FeedbackGiven,
            message.MessageReplayed,
            message.MessageDiscarded,
        ),
        (LOOP, PREDICTIONS, DEAD, SCHEDULES),
        asks=True,
        operates=True,
    ),
    # Whoever trains a model elsewhere and has an MLflow run of it, or wants one trained.
    User(
        "notebook",
        tuple(event for event in EVENTS.values() if event.name().startswith("training.")),
        (LOOP, PREDICTIONS),
        asks=True,
    ),
    User("camera", (prediction.PredictionRequested,), looks=False, asks=True),
    User("provisioner", provisions=True),
)


def user(name: str) -> User:
    """The row of a user; KeyError when there is none of that name."""
    for row in USERS:
        if row.name == name:
            return row
    raise KeyError(name)


def permissions(row: User) -> Permissions:
    """The subjects that one user may publish and subscribe to."""
    publish = [event.subject("*") for event in row.says]
    subscribe = [f"{row.inbox}.>"]
    for stream in (_stream(name) for name in row.reads):
        publish += _reading(stream.name)
        # What may be read may be heard as it is said, too.
        subscribe += stream.subjects
    publish += [f"$KV.{bucket}.>" for bucket in row.writes]
    if row.looks:
        publish += _looking()
    if row.asks:
        publish.append(ask_subject("*"))
    if row.meets_services:
        publish.append("$SRV.>")
    if row.name in SERVICES:
        publish += _serving(row.name)
        subscribe += ["$SRV.>", *([ask_subject("*")] if row.name == "predictor" else [])]
    if row.operates:
        publish += [
            *(consumer.redo_subject for consumer in CONSUMERS),
            f"{_API}.STREAM.MSG.DELETE.{DEAD}",
            schedule_subject("*", "*"),
        ]
    if row.provisions:
        publish += _provisioning()
    return Permissions(_once(publish), _once(_denied(row)), _once(subscribe))


def _reading(stream: str) -> list[str]:
    """Of a stream or bucket: a message at a time, or by a consumer that goes away by itself."""
    return [
        f"{_API}.STREAM.MSG.GET.{stream}",
        f"{_API}.DIRECT.GET.{stream}",
        f"{_API}.DIRECT.GET.{stream}.>",
        f"{_API}.CONSUMER.CREATE.{stream}.>",
        f"{_API}.CONSUMER.MSG.NEXT.{stream}.*",
        f"{_API}.CONSUMER.DELETE.{stream}.*",
        f"$JS.FC.{stream}.>",
    ]


def _denied(row: User) -> list[str]:
    """A reader of a stream does not take another's messages, and no one but the provisioner touches a durable."""
    denied = []
    for consumer in CONSUMERS:
        if consumer.stream in row.reads:
            where = f"{consumer.stream}.{consumer.durable}"
            denied += [
                f"{_API}.CONSUMER.{call}" for call in (f"DELETE.{where}", f"CREATE.{where}", f"CREATE.{where}.>")
            ]
            if consumer.service != row.name:
                denied.append(f"{_API}.CONSUMER.MSG.NEXT.{where}")
    return denied


def _looking() -> list[str]:
    buckets = [subject for bucket in BUCKETS for subject in _reading(f"KV_{bucket.name}")]
    # nats-py watches by a consumer without a name. On a stream that has durables this must not be: the server believes
    # a name that stands in the request alone, and would change the durable of that name.
    buckets += [f"{_API}.CONSUMER.CREATE.KV_{bucket.name}" for bucket in BUCKETS]
    return [f"{_API}.INFO", f"{_API}.STREAM.INFO.*", f"{_API}.CONSUMER.INFO.*.*", *buckets]


def _serving(service: str) -> list[str]:
    """Taking messages of its own durables, giving up on them, and answering those who may ask."""
    subjects = []
    for consumer in CONSUMERS:
        if consumer.service == service:
            subjects += [
                f"{_API}.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.durable}",
                f"$JS.ACK.{consumer.stream}.{consumer.durable}.>",
                dead_subject(consumer.stream, consumer.durable),
            ]
    # By name, and not "the reply subject of whatever comes in": that may be any, and a service must not be made to
    # say what it has been asked.
    askers = (row for row in USERS if row.meets_services or (row.asks and service == "predictor"))
    return [*subjects, *(f"{row.inbox}.>" for row in askers)]


def _provisioning() -> list[str]:
    """Making and changing, but neither deleting nor reading what was said."""
    return [
        *(f"{_API}.STREAM.{verb}.*" for verb in ("CREATE", "UPDATE")),
        *(f"{_API}.CONSUMER.{verb}.>" for verb in ("CREATE", "DURABLE.CREATE")),
    ]


def _stream(name: str) -> Stream:
    return next(stream for stream in STREAMS if stream.name == name)


def _once(subjects: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(subjects))


def table() -> str:
    """The users as a table in Markdown, which stands in the README."""
    lines = ["| user | says | reads | writes | besides |", "|---|---|---|---|---|"]
    for row in USERS:
        everything = len(row.says) == len(EVENTS)
        says = "every event" if everything else ", ".join(f"`{name}`" for name in _once(e.name() for e in row.says))
        besides = [
            *(["hears its durables, gives up to `DEAD`"] if row.name in SERVICES else []),
            *(["answers `ask.*.predict`"] if row.name == "predictor" else []),
            *(["asks for predictions"] if row.asks else []),
            *(["asks who is there"] if row.meets_services else []),
            *(["dead letters, schedules"] if row.operates else []),
            *(["makes streams, durables and buckets"] if row.provisions else []),
        ]
        cells = (f"`{row.name}`", says, ", ".join(row.reads), ", ".join(row.writes), "; ".join(besides))
        lines.append(f"| {' | '.join(cells)} |".replace("  ", " "))
    return "\n".join(lines) + "\n"
