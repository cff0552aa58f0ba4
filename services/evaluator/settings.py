"""What the evaluator is told by its environment."""

from services.chassis.settings import Settings


class EvaluatorSettings(Settings):
    """Nothing of its own: `kept_root` (of the chassis) is where answers are kept; deleting it costs time only."""
