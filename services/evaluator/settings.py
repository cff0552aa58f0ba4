"""What the evaluator is told by its environment."""

from pydantic import Field

from services.chassis.settings import Settings


class EvaluatorSettings(Settings):
    """`LOOPLINE_…` variables. `kept_root` (of the chassis) is where answers are kept; deleting it costs time only.

    `watch_period_s` is how often the live answers are looked at.
    """

    watch_period_s: float = Field(default=5.0, gt=0)
