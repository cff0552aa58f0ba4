"""JSON logs, one line an event, with trace ids."""

import json
import logging
import sys
from datetime import UTC, datetime

from services.chassis.telemetry import TraceIds

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "trace_id", "span_id", "taskName"}


class JsonLine(logging.Formatter):
    """A log record as one JSON object."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace_id := getattr(record, "trace_id", ""):
            line |= {"trace_id": trace_id, "span_id": getattr(record, "span_id", "")}
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def start_logs(service: str, level: str) -> None:
    """Send every logger of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine(service))
    handler.addFilter(TraceIds())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "nats"):
        logging.getLogger(noisy).setLevel("WARNING")
