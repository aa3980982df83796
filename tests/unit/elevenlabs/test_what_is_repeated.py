"""Every status, word, close code and broken wire of the tables in `fault_rules`, and whether its call is repeated.

The decisions are written by hand; what they are about is taken from the tables themselves, so that a row that is
added there has no decision here until somebody writes one.
"""

from __future__ import annotations

import json
import re

import pytest

from service.elevenlabs.fault_rules import CLOSE_RULES, HTTP_RULES, WIRE_RULES, Phase
from service.elevenlabs.faults import error_from_close, error_from_exception, error_from_response
from service.errors import UpstreamError
from service.retry import with_retry
from service.retry_effects import EFFECTS, effect_of
from tests.unit.retrying import FakeTime, make_retrier

ALWAYS, DECLARED, NEVER = "always", "only what is declared repeatable", "never"

WORDS = {
    "quota_exceeded": NEVER, "insufficient_credits": NEVER, "payment_required": NEVER,
    "concurrent_limit_exceeded": NEVER, "too_many_concurrent_requests": NEVER,
    "system_busy": ALWAYS, "rate_limit_exceeded": ALWAYS, "service_unavailable": ALWAYS, "maintenance": ALWAYS,
    "rate_limit_error": ALWAYS,
    "invalid_api_key": NEVER, "missing_api_key": NEVER, "detected_unusual_activity": NEVER,
    "authentication_error": NEVER, "authorization_error": NEVER,
    "validation_error": NEVER, "invalid_request": NEVER, "not_found": NEVER, "conflict": NEVER,
    "internal_error": DECLARED,
}  # fmt: skip

STATUSES = {
    **dict.fromkeys(range(300, 400), DECLARED),  # no answer of this API: what became of the request is unknown
    **dict.fromkeys(range(400, 500), NEVER),
    **dict.fromkeys(range(500, 600), DECLARED),
    408: DECLARED, 425: ALWAYS, 429: ALWAYS, 503: ALWAYS, 504: DECLARED,
}  # fmt: skip

CLOSES = {
    "quota_exceeded": NEVER, "concurrent_limit_exceeded": NEVER, "system_busy": ALWAYS, "invalid_api_key": NEVER,
    "safety_violation": NEVER, "agent_misconfigured": NEVER,
    "llm_timeout": DECLARED, "transport_receive_timeout": DECLARED, "asyncio_timeout": DECLARED,
    "redis_timeout_error": DECLARED, "http_exception": DECLARED, "custom_llm_error": DECLARED, "llm_error": DECLARED,
    "cascade_brain_error": DECLARED, "asr_transcription_error": DECLARED, "vad_error": DECLARED,
    "turn_probability_error": DECLARED, "tts_cascade_error": DECLARED, "operational_error": DECLARED,
    "first_message_override_refused": NEVER, "override_error": NEVER, "missing_dynamic_variable": NEVER,
    "missing_fields": NEVER, "value_error": NEVER, "invalid_message": NEVER, "contract_violation": NEVER,
    "unsupported_data": NEVER, "message_too_big": NEVER, "agent_not_found": NEVER, "conversation_refused": NEVER,
    "going_away": DECLARED, "connection_lost": DECLARED, "unknown_websocket_crash": DECLARED,
    "try_again_later": ALWAYS, "closed": DECLARED,
}  # fmt: skip

WIRES = {
    "name_not_resolved": ALWAYS, "tls_failed": ALWAYS, "connect_failed": ALWAYS, "connect_timeout": ALWAYS,
    "read_timeout": DECLARED, "truncated": DECLARED, "connection_lost": DECLARED, "senseless_answer": DECLARED,
}  # fmt: skip


def attempts_made(error: UpstreamError, *, repeatable: bool) -> int:
    calls = 0

    @with_retry(make_retrier(FakeTime(), attempts=4), repeatable=repeatable)
    def fail() -> None:
        nonlocal calls
        calls += 1
        raise error

    with pytest.raises(UpstreamError) as caught:
        fail()
    assert caught.value is error
    return calls


def decision(error: UpstreamError) -> str:
    made = (attempts_made(error, repeatable=False), attempts_made(error, repeatable=True))
    return {(4, 4): ALWAYS, (1, 4): DECLARED, (1, 1): NEVER}[made]


def sentence(pattern: re.Pattern[str]) -> str:
    """One that the pattern finds: these are plain words with a few choices in them."""
    text = pattern.pattern.partition("|")[0].replace(r"(?:[\w ]*)", "monthly ")
    text = text.replace(".*", " ").replace("[_ ]", "_").replace("[ _]", " ")
    assert pattern.search(text), (pattern.pattern, text)
    return text


# --- The tables have no row without a decision


def test_every_word_status_and_code_of_the_tables_has_a_decision_here_and_nothing_else_has() -> None:
    assert set(WORDS) == {word for rule in HTTP_RULES for word in rule.words or ()}
    assert set(STATUSES) >= {status for rule in HTTP_RULES for status in rule.statuses or ()}
    assert set(CLOSES) == {rule.code for rule in CLOSE_RULES}
    assert set(WIRES) == {rule.code for rule in WIRE_RULES}


def test_every_class_that_the_tables_name_says_what_its_call_has_done() -> None:
    named = {rule.error for rule in (*HTTP_RULES, *CLOSE_RULES, *WIRE_RULES)}
    for one in named:
        assert any(base in EFFECTS for base in one.__mro__[:-4]), one  # by itself or by what it is derived from
        assert effect_of(one("", code="")) in EFFECTS.values()


# --- And each is decided so


@pytest.mark.parametrize("field", ["code", "status", "type"])
@pytest.mark.parametrize("word", WORDS)
def test_a_word_decides_whatever_the_status(word: str, field: str) -> None:
    body = json.dumps({"detail": {field: word, "message": "..."}}).encode()
    for status in (400, 401, 429, 500, 503):
        assert decision(error_from_response(status, {}, body)) == WORDS[word], status


@pytest.mark.parametrize("status", STATUSES)
def test_a_bare_status_decides(status: int) -> None:
    assert decision(error_from_response(status, {}, b"")) == STATUSES[status]


@pytest.mark.parametrize("rule", [rule for rule in HTTP_RULES if rule.pattern], ids=str)
def test_a_sentence_decides_where_there_is_no_word(rule: object) -> None:
    body = json.dumps({"detail": sentence(rule.pattern)}).encode()  # type: ignore[attr-defined]
    for status in rule.statuses:  # type: ignore[attr-defined]
        assert decision(error_from_response(status, {}, body)) == NEVER


@pytest.mark.parametrize("rule", CLOSE_RULES, ids=lambda rule: f"{rule.code}-{min(rule.codes or [4000])}")
def test_a_close_decides(rule: object) -> None:
    reason = sentence(rule.pattern) if rule.pattern else ""  # type: ignore[attr-defined]
    for code in rule.codes or (1002, 1008, 1011, 4000):  # type: ignore[attr-defined]
        error = error_from_close(code, reason)
        assert error is not None
        if rule.codes is not None or rule.pattern is not None:  # type: ignore[attr-defined]
            assert error.code == rule.code  # type: ignore[attr-defined]
        assert decision(error) == CLOSES[error.code]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("rule", WIRE_RULES, ids=lambda rule: f"{rule.code}-{rule.error.__name__}")
def test_a_broken_wire_decides(rule: object, phase: Phase) -> None:
    for kind in rule.exceptions:  # type: ignore[attr-defined]
        error = error_from_exception(kind.__new__(kind), phase)
        assert decision(error) == WIRES[error.code]
        if phase is Phase.CONNECT:
            assert decision(error) == ALWAYS


def test_the_two_429s_are_treated_oppositely() -> None:
    crowded = error_from_response(429, {}, b'{"detail":{"status":"too_many_concurrent_requests"}}')
    overloaded = error_from_response(429, {}, b'{"detail":{"status":"system_busy"}}')
    assert (attempts_made(crowded, repeatable=True), attempts_made(overloaded, repeatable=False)) == (1, 4)
