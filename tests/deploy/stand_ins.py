"""A stack of stand-ins: real processes under the real supervisord that only answer HTTP, so that it is up in a second.

As a program it is what `./taskw up` is for the real one: `python stand_ins.py VAR [--detach] [--broken WHICH]`.
"""

import argparse
import sys
from pathlib import Path

from deploy.embedded.commands import up
from deploy.embedded.probes import answers
from deploy.embedded.servers import HOST, Process, free_port
from deploy.embedded.stack import Place, Stack
from tests.deploy import answering


def stand_in(name: str, var: Path, how: str = "alone") -> Process:
    """A process that answers HTTP on a free port, or does not; it is given `var` so that it is found by it."""
    port = free_port()
    command = (sys.executable, "-m", answering.__name__, how, str(port), str(var))
    url = f"http://{HOST}:{port}"
    return Process(
        name,
        command,
        {"PASSWORD": "hush%d '\"x"},
        lambda: answers(url),
        5 if how == "hang" else 10,
        tree=how == "tree",
        url=url,
    )


def stand_in_stack(var: Path, broken: str = "") -> Stack:
    """Two servers, one with children, and two services; `broken` is what does not work: `fail`, `hang` or `once`."""
    return Stack(
        settings={"LOOPLINE_NATS_PASSWORD": "hush"},
        servers=(stand_in("nats", var), stand_in("mlflow", var, "tree")),
        once=(stand_in("provisioner", var, "fail" if broken == "once" else "end"),),
        services=(
            stand_in("trainer", var, broken if broken in ("fail", "hang") else "alone"),
            stand_in("registry", var),
        ),
        places=(Place("MLflow", "http://127.0.0.1:1", "a note"),),
    )


def main() -> int:
    """Bring the stand-ins up as the stack is brought up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("var", type=Path)
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--broken", default="")
    asked = parser.parse_args()
    return up(lambda: stand_in_stack(asked.var, asked.broken), asked.var, detach=asked.detach)


if __name__ == "__main__":
    sys.exit(main())
