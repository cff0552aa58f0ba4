"""Where a service can die between two of its side effects: the declared list, one point at a time and as a table.

`tests/chaos/test_killpoints.py` dies at each point, and holds the list against what the services really do.
"""

from collections.abc import Iterator

from tests.chaos.killpoints_list import HANDLERS
from tests.chaos.killpoints_shape import Handler, Point


def handler(name: str) -> Handler:
    """The handler of that name; KeyError where there is none."""
    return {one.name: one for one in HANDLERS}[name]


# Where another one may act while a process stands still: what it then does must not be done a second time.
STANDING_STILL = (
    ("labeling-sync: project.defined", "label-studio POST projects"),
    ("labeling-sync: image.added", "label-studio POST import"),
    ("labeling-sync: feedback.given", "label-studio POST annotations"),
    ("labeling-sync: dataset.requested", "finish dataset"),
    ("trainer: dataset.versioned", "mlflow POST runs/create"),
    ("trainer: dataset.versioned", "finish train"),
    ("registry: evaluation.completed", "mlflow POST model-versions/create"),
    ("registry: deployment.completed", "mlflow POST registered-models/alias #2"),
    ("deployer: model.approved", "triton load"),
    ("deployer: model.approved", "save deployments"),
    ("predictor: prediction.requested", "say prediction.completed"),
)


def every_point() -> Iterator[tuple[Handler, Point]]:
    """All of them, in order."""
    for one in HANDLERS:
        for point in one.points:
            yield one, point


def table() -> str:
    """The list as the README of the chassis has it."""
    lines = ["| service | hears | dies before | leaves behind | the next run |", "|---|---|---|---|---|"]
    last = ""
    for one, point in every_point():
        service, heard = ("", "") if one.name == last else (one.service, one.heard)
        last = one.name
        lines.append(f"| {service} | {heard} | `{point.before}` | {point.left} | {point.mended} |")
    return "\n".join(lines)
