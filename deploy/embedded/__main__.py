"""`python -m deploy.embedded up [--detach] | down | status [--json] | clean`."""

import argparse
import os
import signal
import sys
import threading
import time

from deploy.embedded.commands import clean, down, status, up
from deploy.embedded.given import BadSetting, given_settings, var_folder
from deploy.embedded.servers import NotInstalled
from deploy.embedded.stack import embedded_stack


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when it did what was asked, 1 when something did not work, 2 when it cannot be done as asked."""
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded", description="The whole stack on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start what no setting points to, and wait until all is ready")
    start.add_argument("--detach", action="store_true", help="leave it running; without this, Ctrl-C stops it")
    start.add_argument("--tethered", action="store_true", help="stop it when the program that runs this one ends")
    commands.add_parser("down", help="stop it")
    look = commands.add_parser("status", help="what runs; exit code 1 when nothing does")
    look.add_argument("--json", action="store_true")
    commands.add_parser("clean", help="stop it and delete everything it ever wrote")
    asked = parser.parse_args(argv)
    os.umask(0o077)  # what the stack writes is for the one who runs it
    given = given_settings()
    var = var_folder(given)
    try:
        match asked.command:
            case "up":
                if asked.tethered:
                    _end_with(os.getppid())
                return up(lambda: embedded_stack(given, var), var, detach=asked.detach)
            case "down":
                return down(var)
            case "status":
                return status(var, as_json=asked.json)
            case _:
                return clean(var)
    except (BadSetting, NotInstalled) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _end_with(parent: int) -> None:
    """Be told to stop once the parent is another. (The kernel's own means goes by thread, and Go's come and go.)"""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
