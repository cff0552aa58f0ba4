"""The child of a dying service: watches its own side effects, and takes the service with it when it dies."""

import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from services.chassis.child import serve, tether
from tests.chaos.dying import Faults
from tests.chaos.dying_effects import Effects, watch_files, watch_http

if __name__ == "__main__":
    tether()
    logging.basicConfig(stream=sys.stderr)
    faults = Faults.of_env()
    effects = Effects(Path(faults.log), faults.at, sleeps=faults.sleeps, service=os.getppid())
    for watch in (watch_http, watch_files):
        watch(effects)
    worker: Any = import_module(os.environ["DYING_WORKER"])
    warm = worker.warm
    if faults.tiny and worker.__name__ == "services.trainer.worker":
        from services.trainer import training
        from tests.chaos.killpoints_tiny import train

        training.trainer_of, warm = lambda recipe: train, None
    serve(worker.handle, warm)
