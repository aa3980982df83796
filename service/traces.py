"""Traces of conversations for OpenTelemetry: a span for a conversation, one for each of its legs and turns.

The key decisions:

* a span is told when it is over, as a value (`record`), and is put aside; one thread hands on what was put aside, once
  a second. A collector that hangs or refuses makes that thread wait and, later, spans be dropped, and nothing else;
* ids are made of the conversation's own (`trace_id_of`), so that what several workers led falls into one trace, and a
  line of the log names its trace without asking anybody;
* without a collector's address nothing of OpenTelemetry is imported (`trace_export.py` alone does it).

No words, no keys and no users' ids: what a span may say are the fields below.
"""

from __future__ import annotations

import hashlib
import importlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from service.metrics_traces import SpanOutcome, spans_told

log = structlog.get_logger(__name__)

MOST_WAITING = 2_000
"""Spans that wait for the collector; what comes then is dropped."""

BATCH = 50
"""Spans of one request: to encode more of them at once would keep the event loop from its work for too long."""

ROUND_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class ConversationSpan:
    """A conversation; told once, by the worker that ended it. `started_at` and `ended_at` are Unix seconds."""

    conversation_id: str
    started_at: float
    ended_at: float
    outcome: str
    agent_id: str
    by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LegSpan:
    """The part of a conversation that one provider spoke, the `number`th (from 1), begun because of `cause`."""

    conversation_id: str
    started_at: float
    ended_at: float
    outcome: str
    number: int
    provider: str
    cause: str


@dataclass(frozen=True, kw_only=True)
class TurnSpan:
    """An answer and the wait for it, the `number`th of the conversation, on leg `leg`. `first_audio_seconds` is the
    wait for the first audible sound; None: there was none."""

    conversation_id: str
    started_at: float
    ended_at: float
    outcome: str
    number: int
    leg: int
    provider: str
    first_audio_seconds: float | None


Span = ConversationSpan | LegSpan | TurnSpan


class SpanExporter(Protocol):
    """Sends spans away."""

    def send(self, spans: Sequence[Span]) -> bool:
        """Send them, for some seconds at most; whether they were taken. Raises nothing."""

    def close(self) -> None:
        """Give up what is being sent."""


def trace_id_of(conversation_id: str) -> str:
    """The trace of a conversation: 32 hexadecimal digits, the same in every worker."""
    return hashlib.sha256(conversation_id.encode()).hexdigest()[:32]


def span_id_of(conversation_id: str, leg: int | None = None) -> str:
    """The span of a conversation or of one of its legs: 16 hexadecimal digits, the same in every worker."""
    name = "conversation" if leg is None else f"leg {leg}"
    return hashlib.sha256(f"{conversation_id}/{name}".encode()).hexdigest()[:16]


class Traces:
    """Sends spans to the collector at `endpoint` (the address for traces, with its path); None: there is none.

    `instance` tells this worker from others.
    """

    def __init__(
        self,
        endpoint: str | None,
        *,
        instance: str = "",
        make_exporter: Callable[[str, str], SpanExporter] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._instance = instance
        self._make_exporter = make_exporter or _make_exporter
        self._waiting: deque[Span] = deque()
        self._exporter: SpanExporter | None = None
        self._leaves = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_failing = False

    @property
    def is_on(self) -> bool:
        """Whether spans are sent anywhere."""
        return self._exporter is not None

    def start(self) -> None:
        """Begin to send, if there is a collector. If it cannot be done the log says why, once."""
        if self._endpoint is None:
            return
        try:
            self._exporter = self._make_exporter(self._endpoint, self._instance)
        except ModuleNotFoundError as exc:
            log.warning("traces are not sent", missing_module=exc.name, install="vocero[traces]")
            return
        except Exception as exc:  # noqa: BLE001 (a variable that the SDK cannot read: no reason not to serve)
            log.warning("traces are not sent", error=type(exc).__name__)
            return
        self._thread = threading.Thread(target=self._send_on, name="traces", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Send what waits, for `timeout` s at most; what has not left then is dropped."""
        self._leaves.set()
        if self._thread is not None:
            self._thread.join(timeout)
        if self._exporter is not None:
            self._exporter.close()
            self._exporter = None

    def record(self, span: Span) -> None:
        """Take `span`; returns at once, and may be called in a callback of the event loop."""
        if self._exporter is None:
            return
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(span)
        else:
            spans_told(SpanOutcome.DROPPED, 1)

    # --- The thread

    def _send_on(self) -> None:
        while not self._leaves.wait(ROUND_SECONDS):
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        """Send what waits. A failure ends the round, so that a collector that is away is not asked at full speed."""
        while self._waiting and (exporter := self._exporter) is not None:
            spans = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            is_sent = exporter.send(spans)
            spans_told(SpanOutcome.SENT if is_sent else SpanOutcome.REFUSED, len(spans))
            self._note(is_sent=is_sent)
            if not is_sent:
                return

    def _note(self, *, is_sent: bool) -> None:
        if is_sent and self._is_failing:
            log.info("traces are taken again")
        elif not is_sent and not self._is_failing:
            log.warning("traces are not taken: the collector does not answer, or refuses them")
        self._is_failing = not is_sent


def _make_exporter(endpoint: str, instance: str) -> SpanExporter:
    exporter: SpanExporter = importlib.import_module("service.trace_export").OtlpExporter(endpoint, instance=instance)
    return exporter
