"""OpenTelemetry, wired once: spans to OTLP JSON lines under `traces_dir`, and to any endpoint the environment names.

A trace is kept or not as its first span decides, and every service after it follows: turns are always kept,
predictions by ratio.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from contracts.envelope import Envelope
from contracts.telemetry import PREDICTION_ROOTS

__all__ = ["SpanKind", "carried", "inside", "record_error", "sampler", "span", "start_telemetry", "stop_telemetry"]

# Finds the provider of the process when there is one; to ask for a tracer each time costs more than the span.
_TRACER = trace.get_tracer("loopline")
_W3C = TraceContextTextMapPropagator()


class _Roots(Sampler):
    """Of traces that begin here: a share of the predictions, all others."""

    def __init__(self, predictions_ratio: float) -> None:
        self._predictions = TraceIdRatioBased(predictions_ratio)

    def should_sample(
        self,
        parent_context: otel_context.Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        sampler = self._predictions if name in PREDICTION_ROOTS else ALWAYS_ON
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        return f"turns always, predictions by {self._predictions.get_description()}"


def sampler(predictions_ratio: float) -> Sampler:
    """Which traces are kept: those of turns, and a share of the predictions, 0..1; the first span decides for all."""
    return ParentBased(_Roots(predictions_ratio))


def start_telemetry(service: str, traces_dir: str, predictions_ratio: float = 1.0) -> None:
    """Install the tracer provider of this process. Does nothing more when no destination is configured.

    Of the predictions asked for here a share is traced, `predictions_ratio` in 0..1. An OTLP endpoint is taken from
    OpenTelemetry's own `OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT`.
    """
    provider = TracerProvider(
        sampler=sampler(predictions_ratio),
        resource=Resource.create({"service.name": service, "service.namespace": "loopline"}),
    )
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


def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: str | int | float | bool
) -> AbstractContextManager[Span]:
    """A span under the current one, to be entered at once; an exception marks it as failed and goes on.

    In a trace that is not kept there are no spans: whoever is told of it is told of its first one.
    """
    current = trace.get_current_span()
    context = current.get_span_context()
    if context.is_valid and not context.trace_flags.sampled:
        return nullcontext(current)
    return trace.use_span(_TRACER.start_span(name, kind=kind, attributes=attributes), end_on_exit=True)


@contextmanager
def inside(envelope: Envelope | None) -> Iterator[None]:
    """Make the trace that an envelope carries the current one."""
    carrier = {}
    if envelope and envelope.traceparent:
        carrier = {"traceparent": envelope.traceparent}
        if envelope.tracestate:
            carrier["tracestate"] = envelope.tracestate
    token = otel_context.attach(_W3C.extract(carrier, context=otel_context.Context()))
    try:
        yield
    finally:
        otel_context.detach(token)


def carried() -> tuple[str | None, str | None]:
    """`traceparent` and `tracestate` of the current span, to put into headers."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
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
