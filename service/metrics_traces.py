"""The metric of traces: what became of the spans that were to be sent.

The key decision: as in `metrics.py`, callers tell what happened. A trace is for looking at one conversation, and may be
incomplete; this says by how much.
"""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import Counter

from service import metrics  # noqa: F401 (first of all: it decides where every metric of the process lies)


class SpanOutcome(StrEnum):
    """What became of a span."""

    SENT = "sent"
    REFUSED = "refused"  # the collector did not answer, or would not have it
    DROPPED = "dropped"  # too many waited


TRACE_SPANS = Counter(
    "vocero_trace_spans",
    "Spans for the OpenTelemetry collector: sent, refused (it did not take them), dropped (too many waited).",
    ["outcome"],
)
for _outcome in SpanOutcome:
    TRACE_SPANS.labels(outcome=_outcome.value)


def spans_told(outcome: SpanOutcome, count: int) -> None:
    """Count what became of `count` spans. Read by: on call, when a trace is incomplete."""
    TRACE_SPANS.labels(outcome=outcome.value).inc(count)
