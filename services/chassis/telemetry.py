"""OpenTelemetry, wired once: spans to OTLP JSON lines under `traces_dir`, and to any endpoint the environment names."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from contracts.envelope import Envelope

__all__ = ["SpanKind", "carried", "inside", "record_error", "span", "start_telemetry", "stop_telemetry"]

_TRACER = "loopline"


def start_telemetry(service: str, traces_dir: str) -> None:
    """Install the tracer provider of this process. Does nothing more when no destination is configured.

    An OTLP endpoint is taken from OpenTelemetry's own `OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT`.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": service, "service.namespace": "loopline"}))
    if traces_dir:
        from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter

        folder = Path(traces_dir)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{service}-{os.getpid()}.jsonl"
        provider.add_span_processor(BatchSpanProcessor(FileSpanExporter(file), schedule_delay_millis=500))
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def stop_telemetry() -> None:
    """Export what is finished."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: str | int | float | bool) -> Iterator[Span]:
    """A span under the current one; an exception marks it as failed and goes on."""
    with trace.get_tracer(_TRACER).start_as_current_span(name, kind=kind, attributes=attributes) as current:
        yield current


@contextmanager
def inside(envelope: Envelope | None) -> Iterator[None]:
    """Make the trace that an envelope carries the current one."""
    carrier = {}
    if envelope and envelope.traceparent:
        carrier = {"traceparent": envelope.traceparent, "tracestate": envelope.tracestate or ""}
    token = otel_context.attach(propagate.extract(carrier, context=otel_context.Context()))
    try:
        yield
    finally:
        otel_context.detach(token)


def carried() -> tuple[str | None, str | None]:
    """`traceparent` and `tracestate` of the current span, to put into headers."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent"), carrier.get("tracestate")


def record_error(current: Span, error: BaseException) -> None:
    """Keep the cause of a failed delivery on its span."""
    current.record_exception(error)
    current.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))


class TraceIds(logging.Filter):
    """Adds the ids of the current span to log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = trace.get_current_span().get_span_context()
        record.trace_id = f"{current.trace_id:032x}" if current.is_valid else ""
        record.span_id = f"{current.span_id:016x}" if current.is_valid else ""
        return True
