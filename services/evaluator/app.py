"""Which durable is bound to which handler."""

from functools import partial

from contracts.events.training import TrainingCompleted
from contracts.topology import WATCHED
from services.chassis.app import Service
from services.chassis.child import WarmChild
from services.evaluator.adapters.kept_watch import KeptWatch
from services.evaluator.adapters.torch_process import WORKER, TorchProcess
from services.evaluator.handlers import on_training_completed
from services.evaluator.job import Places
from services.evaluator.ports import Models
from services.evaluator.settings import EvaluatorSettings
from services.evaluator.watching import Watcher


def build(settings: EvaluatorSettings | None = None, models: Models | None = None) -> Service:
    """The evaluator; `models` stands in for the child process."""
    settings = settings or EvaluatorSettings()
    service = Service("evaluator", settings)
    if models is None:
        child = WarmChild(WORKER)
        models = TorchProcess(child, Places(blobs_root=settings.blobs_root, kept_root=settings.kept_root))
        service.on_start(child.start)
        service.on_stop(child.stop)
    service.hear(
        "evaluator-judging",
        {TrainingCompleted: partial(on_training_completed, facts=service.bus, models=models)},
    )
    watcher = Watcher(service.bus, KeptWatch(service.bus.bucket(WATCHED)), service.bus.now)
    service.every(settings.watch_period_s, watcher.look, name="watch")
    return service
