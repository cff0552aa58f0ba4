"""A real service that kills itself between two of its side effects: python -m tests.chaos.dying SERVICE --at EFFECT.

EFFECT is the one that is not made any more, by its name in `tests.chaos.killpoints`; without it the service runs as
ever. What it made is written to the file that `DYING_LOG` names.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from contracts import topology
from services.chassis import delivery, jobs
from services.chassis.child import tether
from tests.chaos.dying_effects import Effects, watch_bus, watch_files, watch_http, watch_models

ACK_WAIT_S = 2.0
LEASE_S = 1.5
WORKER = "tests.chaos.dying_worker"

# The child of a service that has one, with the place where the service looks its module up.
CHILDREN = {"trainer": "services.trainer.worker", "evaluator": "services.evaluator.worker"}


@dataclass(frozen=True)
class Faults:
    """What happens to a process, as `Effects` has it.

    `tiny`: the trainer's child makes a network of one number instead of a real one.
    """

    log: str
    at: str = ""
    lose_acks: int = 0
    sleeps: bool = False
    tiny: bool = True

    def env(self, worker: str) -> dict[str, str]:
        """As the child of a service reads it."""
        return {f"DYING_{key.upper()}": str(value) for key, value in {**asdict(self), "worker": worker}.items()}

    @classmethod
    def of_env(cls) -> "Faults":
        """As a child was told."""
        at, log, tiny, sleeps = (os.environ[f"DYING_{key}"] for key in ("AT", "LOG", "TINY", "SLEEPS"))
        return cls(log=log, at=at, tiny=tiny == "True", sleeps=sleeps == "True")


def run(service: str, faults: Faults, env: Mapping[str, str]) -> None:
    """Build the service as it is and run it until it is told to stop, or dies."""
    tether()
    os.environ.update(env)
    shorten()
    effects = Effects(Path(faults.log), faults.at, faults.lose_acks, faults.sleeps)
    for watch in (watch_bus, watch_http, watch_models, watch_files):
        watch(effects)
    app: Any = import_module(f"services.{service.replace('-', '_')}.app")
    if service in CHILDREN:
        os.environ.update(faults.env(CHILDREN[service]))
        app.WORKER = WORKER
    app.build().run()


def shorten() -> None:
    """What a dead service held is free after 2 s instead of 15; who waits for it does so in seconds, too."""
    topology.CONSUMERS = tuple(replace(row, ack_wait_s=ACK_WAIT_S) for row in topology.CONSUMERS)
    jobs.LEASE_S = LEASE_S
    delivery._BUSY_PAUSES_S = (1.0, 1.0, 2.0, 4.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.dying", description=__doc__)
    parser.add_argument("service", choices=topology.SERVICES)
    parser.add_argument("--at", default="", metavar="EFFECT", help="die before this one")
    parser.add_argument("--lose-acks", default=0, type=int, metavar="N", help="the first N acks do not arrive")
    parser.add_argument("--sleeps", action="store_true", help="be stopped at EFFECT instead, until SIGCONT")
    given = parser.parse_args()
    log = os.environ.get("DYING_LOG", os.devnull)
    run(given.service, Faults(log, given.at, given.lose_acks, given.sleeps, tiny=False), {})
