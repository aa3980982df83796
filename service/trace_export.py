"""Spans on their way to an OpenTelemetry collector, over OTLP/HTTP; the only module that imports OpenTelemetry.

The key decision: of its SDK we use the values, the sampler and the exporter, and neither its tracers nor its batches.
Those keep a span open in a context while something happens; ours come from several workers, are told when they are
over, and have ids that are known beforehand.

The SDK reads the standard variables itself: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`,
and `OTEL_EXPORTER_OTLP_HEADERS`, `_TIMEOUT`, `_COMPRESSION`, `_CERTIFICATE`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from service import __version__
from service.traces import ConversationSpan, LegSpan, Span, TurnSpan, span_id_of, trace_id_of

LONGEST_TEXT = 128
FAILED = frozenset({"failed", "failure"})

_NANOSECONDS = 1_000_000_000
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class OtlpExporter:
    """Sends to the collector at `endpoint` in the name of `instance`; a request may take `seconds` (the SDK's 10)."""

    def __init__(self, endpoint: str, *, instance: str, seconds: float | None = None) -> None:
        # They name the address and quote the answer, for each attempt; `Traces` says once that it does not work.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        ours = {SERVICE_NAME: "vocero", SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: instance}
        self._resource = Resource.create(ours).merge(OTELResourceDetector().detect())
        self._sampler = TracerProvider(resource=self._resource, shutdown_on_exit=False).sampler
        self._scope = InstrumentationScope("vocero", __version__)
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=seconds)

    def send(self, spans: Sequence[Span]) -> bool:
        """Send those that the sampler wants; whether they were taken. Raises nothing."""
        wanted = [self._translated(span) for span in spans if self._wants(span)]
        if not wanted:
            return True
        try:
            return self._exporter.export(wanted) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 (the edge of a worker loop: a trace is worth no failure)
            return False

    def is_taken(self) -> bool:
        """Whether the collector takes what we send: an empty batch. Raises nothing."""
        try:
            return self._exporter.export([]) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 (as above)
            return False

    def close(self) -> None:
        """Give up what is being sent, at its next attempt."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the package has types for half of itself

    def _wants(self, span: Span) -> bool:
        """The same for all spans of a trace, in every worker: it is asked as for the first one."""
        trace_id = int(trace_id_of(span.conversation_id), 16)
        decision = self._sampler.should_sample(None, trace_id, "conversation").decision
        return decision is Decision.RECORD_AND_SAMPLE

    def _translated(self, span: Span) -> ReadableSpan:
        started_at, ended_at = _nanoseconds(span.started_at), _nanoseconds(max(span.started_at, span.ended_at))
        parent: SpanContext | None
        events: list[Event] = []
        fields: dict[str, str | int | float] = {"conversation_id": span.conversation_id, "outcome": span.outcome}
        match span:
            case ConversationSpan():
                name, context, parent = "conversation", _context(span), None
                fields |= {"agent_id": span.agent_id, "by": span.by, "reason": span.reason}
            case LegSpan():
                name, context, parent = "leg", _context(span, leg=span.number), _context(span)
                fields |= {"leg": span.number, "provider": span.provider, "cause": span.cause}
            case TurnSpan():
                name, context, parent = "turn", _context(span, is_turn=True), _context(span, leg=span.leg)
                fields |= {"turn": span.number, "leg": span.leg, "provider": span.provider}
                if span.first_audio_seconds is not None:
                    fields["first_audio_seconds"] = span.first_audio_seconds
                    at = _nanoseconds(span.started_at + span.first_audio_seconds)
                    events.append(Event("first audio", timestamp=at))
        return ReadableSpan(
            name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes={f"vocero.{key}": _shortened(value) for key, value in fields.items()},
            events=events,
            kind=SpanKind.SERVER if parent is None else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR if span.outcome in FAILED else StatusCode.UNSET),
            start_time=started_at,
            end_time=ended_at,
            instrumentation_scope=self._scope,
        )


def _context(span: Span, *, leg: int | None = None, is_turn: bool = False) -> SpanContext:
    # Nothing hangs below a turn, so its id need not be known to anybody.
    number = secrets.randbits(64) if is_turn else int(span_id_of(span.conversation_id, leg), 16)
    return SpanContext(int(trace_id_of(span.conversation_id), 16), number, is_remote=False, trace_flags=_SAMPLED)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * _NANOSECONDS)


def _shortened(value: str | float) -> str | int | float:
    return value[:LONGEST_TEXT] if isinstance(value, str) else value
