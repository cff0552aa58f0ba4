"""What a stand-in does: `python -m tests.deploy.answering HOW PORT VAR`."""

import http.server
import os
import sys
import time


class Server(http.server.ThreadingHTTPServer):
    """So that a parent and its child can both listen."""

    allow_reuse_port = True


def main(how: str, port: int) -> None:
    """Answer HTTP (`alone`, or as a `tree` of two processes), `end`, `fail`, or `hang` without an answer."""
    if how == "fail":
        print("no such model")
        sys.exit(3)
    if how == "end":
        return
    if how == "hang":
        time.sleep(600)
    if how == "tree":
        os.fork()
    Server(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
