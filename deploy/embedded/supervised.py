"""supervisord that ends with its starter, until that one lets it go: `python -m deploy.embedded.supervised …`.

Standard input is the lifeline: when it closes, the starter is gone and everything is stopped; one byte on it means that
supervisord is to live on by itself. (Not PR_SET_PDEATHSIG, which could not be taken back from outside.)
"""

import os
import signal
import sys
import threading

from supervisor import supervisord

LET_GO = b"."


def _hold_lifeline() -> None:
    if os.read(sys.stdin.fileno(), 1) != LET_GO:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_hold_lifeline, daemon=True).start()
    supervisord.main(sys.argv[1:])
