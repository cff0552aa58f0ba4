"""A child for test_child: does what its job says."""

import os
import time
from typing import Any

from services.chassis.child import Report, serve
from services.chassis.errors import Away, Rejected


def handle(job: dict[str, Any], report: Report) -> dict[str, Any]:
    print("what a library prints does not disturb the channel")
    report({"progress": 1})
    match job["do"]:
        case "reject":
            raise Rejected("no such class")
        case "away":
            raise Away("MLflow is away")
        case "fail":
            raise RuntimeError("boom")
        case "die":
            os._exit(9)
        case "hang":
            time.sleep(60)
    return {"pid": os.getpid(), "echo": job.get("echo")}


if __name__ == "__main__":
    serve(handle)
