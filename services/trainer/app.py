"""Which durable is bound to which handler."""

import time
from functools import partial

from contracts.events.dataset import DatasetVersioned
from contracts.events.training import TrainingRequested
from services.chassis.app import Service
from services.chassis.child import WarmChild
from services.chassis.jobs import replica
from services.trainer.adapters.torch_process import WORKER, TorchProcess, launcher, worker_env
from services.trainer.handlers import Ports, on_dataset_versioned, on_training_requested
from services.trainer.job import Places
from services.trainer.ports import Trainer
from services.trainer.settings import TrainerSettings


def build(settings: TrainerSettings | None = None, trainer: Trainer | None = None) -> Service:
    """The trainer; `trainer` stands in for the child process."""
    settings = settings or TrainerSettings()
    service = Service("trainer", settings)
    if trainer is None:
        child = WarmChild(WORKER, worker_env(settings.mlflow_timeout_s), launcher(settings.torchrun))
        places = Places(
            blobs_root=settings.blobs_root,
            kept_root=settings.kept_root,
            mlflow_url=settings.mlflow_url,
            studies_url=settings.studies_url,
        )
        trainer = TorchProcess(child, places)
        service.on_start(child.start)
        service.on_stop(child.stop)
    ports = Ports(service.bus, service.claims, trainer, replica(), time.monotonic)
    service.hear(
        "trainer-training",
        {
            DatasetVersioned: partial(on_dataset_versioned, ports=ports),
            TrainingRequested: partial(on_training_requested, ports=ports),
        },
    )
    return service
