"""Names of spans, who emits them, and the edges that every trace of a turn must have: a test walks them."""

from dataclasses import dataclass

# The work inside a turn. The loop's own overhead is a turn's wall time outside these.
TRAINING_RUN = "training.run"
EVALUATION_RUN = "evaluation.run"
TRITON_LOAD = "triton.load"
GOLDEN_CHECK = "golden.check"
DATASET_FREEZE = "dataset.freeze"
TRITON_INFER = "triton.infer"
IMAGE_DECODE = "image.decode"

WORK_SPANS = (TRAINING_RUN, EVALUATION_RUN, TRITON_LOAD, GOLDEN_CHECK)


def process_span(event_name: str) -> str:
    """Of handling an event (OpenTelemetry messaging: operation, then destination)."""
    return f"process {event_name}"


def send_span(event_name: str) -> str:
    """Of saying an event."""
    return f"send {event_name}"


@dataclass(frozen=True)
class Edge:
    """`child` of the service `of` has `parent` of the service `under` as its parent, over the bus or in one process."""

    parent: str
    under: str
    child: str
    of: str


def _hop(said: str, by: str, heard_by: str) -> Edge:
    return Edge(send_span(said), by, process_span(said), heard_by)


def _inside(heard: str, by: str, work: str) -> Edge:
    return Edge(process_span(heard), by, work, by)


TURN_EDGES = (
    _hop("dataset.versioned", "labeling-sync", "trainer"),
    _inside("dataset.versioned", "trainer", TRAINING_RUN),
    _hop("training.completed", "trainer", "evaluator"),
    _inside("training.completed", "evaluator", EVALUATION_RUN),
    _hop("evaluation.completed", "evaluator", "registry"),
    _hop("model.approved", "registry", "deployer"),
    _inside("model.approved", "deployer", TRITON_LOAD),
    _inside("model.approved", "deployer", GOLDEN_CHECK),
    _hop("deployment.completed", "deployer", "registry"),
)

# What begins the trace of a prediction; all other traces are turns, or what a person does about one.
PREDICTION_ROOTS = (
    send_span("prediction.requested"),
    process_span("prediction.requested"),
    process_span("ask"),
)

PREDICTION_EDGES = (
    _inside("prediction.requested", "predictor", IMAGE_DECODE),
    _inside("prediction.requested", "predictor", TRITON_INFER),
)
