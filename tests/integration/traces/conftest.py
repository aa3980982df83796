"""A collector, and spans for it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from service.traces import ConversationSpan, LegSpan, TurnSpan
from tests.parts import require_module

if TYPE_CHECKING:
    from tests.integration.traces.collector import Collector

CONVERSATION = "conv_3f2a"
BEGUN = 1_790_000_000.25


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector of the test's own."""
    require_module("opentelemetry", "traces")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with importlib.import_module("tests.integration.traces.collector").Collector() as running:
        yield running


def conversation_span(
    conversation_id: str = CONVERSATION, *, outcome: str = "ended", **changes: str
) -> ConversationSpan:
    fields = {"agent_id": "agent_demo", "by": "client", "reason": "normal", **changes}
    return ConversationSpan(
        conversation_id=conversation_id, started_at=BEGUN, ended_at=BEGUN + 60, outcome=outcome, **fields
    )


def leg_span(
    number: int, conversation_id: str = CONVERSATION, *, provider: str = "elevenlabs", outcome: str = "ended"
) -> LegSpan:
    return LegSpan(
        conversation_id=conversation_id,
        started_at=BEGUN + number,
        ended_at=BEGUN + number + 20,
        outcome=outcome,
        number=number,
        provider=provider,
        cause="first" if number == 1 else "closed",
    )


def turn_span(
    number: int, leg: int, conversation_id: str = CONVERSATION, *, first_audio_seconds: float | None = 0.5
) -> TurnSpan:
    return TurnSpan(
        conversation_id=conversation_id,
        started_at=BEGUN + leg + number,
        ended_at=BEGUN + leg + number + 3,
        outcome="answered" if first_audio_seconds is not None else "failed",
        number=number,
        leg=leg,
        provider="elevenlabs",
        first_audio_seconds=first_audio_seconds,
    )
