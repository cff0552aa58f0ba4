"""Reads the spans that every process writes under `traces_dir`, one OTLP JSON object a line."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StoredSpan:
    """A finished span. Times are seconds since the epoch; `parent_id` is empty at the root of a trace."""

    trace_id: str
    id: str
    parent_id: str
    name: str
    service: str
    start_s: float
    end_s: float


def read_spans(traces_dir: str | Path, trace_id: str | None = None) -> list[StoredSpan]:
    """All spans of a folder, or those of one trace, by their start. A line that is being written is passed over."""
    spans = [
        span
        for path in sorted(Path(traces_dir).glob("*.jsonl"))
        for line in path.read_text().splitlines()
        for span in _spans(line)
        if trace_id is None or span.trace_id == trace_id
    ]
    return sorted(spans, key=lambda span: span.start_s)


def _spans(line: str) -> Iterator[StoredSpan]:
    try:
        document = json.loads(line)
    except json.JSONDecodeError:
        return
    for resource in document.get("resourceSpans", []):
        service = _attribute(resource.get("resource", {}), "service.name")
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                yield StoredSpan(
                    trace_id=span["traceId"],
                    id=span["spanId"],
                    parent_id=span.get("parentSpanId", ""),
                    name=span["name"],
                    service=service,
                    start_s=int(span["startTimeUnixNano"]) / 1e9,
                    end_s=int(span["endTimeUnixNano"]) / 1e9,
                )


def _attribute(resource: dict[str, Any], key: str) -> str:
    for attribute in resource.get("attributes", []):
        if attribute["key"] == key:
            return str(attribute["value"].get("stringValue", ""))
    return ""


def covered_s(spans: Iterable[StoredSpan], names: Iterable[str], start_s: float, end_s: float) -> float:
    """Seconds between `start_s` and `end_s` in which at least one span of these names was open."""
    wanted = set(names)
    covered, reached = 0.0, start_s
    for span in sorted((span for span in spans if span.name in wanted), key=lambda span: span.start_s):
        begin, end = max(span.start_s, reached), min(span.end_s, end_s)
        if end > begin:
            covered += end - begin
            reached = end
    return covered
