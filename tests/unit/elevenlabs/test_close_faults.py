"""Every close code and reason, and every `error` event, against a list written by hand from the reference."""

from __future__ import annotations

from typing import Any

import pytest

from service.elevenlabs.faults import error_from_close, error_from_event
from service.errors import (
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamPolicyError,
    UpstreamQuotaError,
    UpstreamRequestError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

CLOSES = [
    (1001, "", UpstreamUnavailableError, "going_away"),
    (1012, "Service restart", UpstreamUnavailableError, "going_away"),
    (1005, "", UpstreamUnavailableError, "connection_lost"),
    (1006, "", UpstreamUnavailableError, "connection_lost"),
    (1015, "", UpstreamUnavailableError, "connection_lost"),
    (1013, "", UpstreamBusyError, "try_again_later"),
    (1003, "", UpstreamRequestError, "unsupported_data"),
    (1007, "", UpstreamRequestError, "unsupported_data"),
    (1009, "", UpstreamRequestError, "message_too_big"),
    (1002, "This request exceeds your quota limit.", UpstreamQuotaError, "quota_exceeded"),
    (1002, "quota_exceeded", UpstreamQuotaError, "quota_exceeded"),
    (1008, "This request exceeds your quota of 10000.", UpstreamQuotaError, "quota_exceeded"),
    (
        1002,
        "The AI agent you are trying to reach appears to be misconfigured",
        UpstreamRequestError,
        "agent_misconfigured",
    ),
    (1002, "safety_violation", UpstreamPolicyError, "safety_violation"),
    (1008, "Safety violation detected", UpstreamPolicyError, "safety_violation"),
    (1002, "llm_timeout", UpstreamTimeoutError, "llm_timeout"),
    (1002, "transport_receive_timeout", UpstreamTimeoutError, "transport_receive_timeout"),
    (1002, "asyncio_timeout", UpstreamTimeoutError, "asyncio_timeout"),
    (1002, "redis_timeout_error", UpstreamTimeoutError, "redis_timeout_error"),
    (1002, "http_exception", UpstreamUnavailableError, "http_exception"),
    (1002, "llm_error", UpstreamUnavailableError, "llm_error"),
    (1002, "custom_llm_error", UpstreamUnavailableError, "custom_llm_error"),
    (1002, "cascade_brain_error", UpstreamUnavailableError, "cascade_brain_error"),
    (1002, "asr_transcription_error", UpstreamUnavailableError, "asr_transcription_error"),
    (1002, "vad_error", UpstreamUnavailableError, "vad_error"),
    (1002, "turn_probability_error", UpstreamUnavailableError, "turn_probability_error"),
    (1002, "tts_cascade_error", UpstreamUnavailableError, "tts_cascade_error"),
    (1002, "", UpstreamUnavailableError, "operational_error"),
    (1002, "something new", UpstreamUnavailableError, "operational_error"),
    (1008, "Invalid message received", UpstreamRequestError, "invalid_message"),
    (1008, "invalid_message", UpstreamRequestError, "invalid_message"),
    (1008, "missing_fields", UpstreamRequestError, "missing_fields"),
    (1008, "value_error", UpstreamRequestError, "value_error"),
    (1008, "override_error", UpstreamRequestError, "override_error"),
    (
        1008,
        "Override for field 'first_message' is not allowed by config.",
        UpstreamRequestError,
        "first_message_override_refused",
    ),
    (1008, "Override for field 'text_only' is not allowed by config.", UpstreamRequestError, "override_error"),
    (1008, "missing_dynamic_variable", UpstreamRequestError, "missing_dynamic_variable"),
    (1008, "missing_dynamic_variable_transfer", UpstreamRequestError, "missing_dynamic_variable"),
    (1008, "Missing required dynamic variables: {'name'}", UpstreamRequestError, "missing_dynamic_variable"),
    (1008, "", UpstreamRequestError, "contract_violation"),
    (1008, "invalid_api_key", UpstreamKeyError, "invalid_api_key"),
    (1011, "", UpstreamUnavailableError, "unknown_websocket_crash"),
    (1011, "unknown_websocket_crash", UpstreamUnavailableError, "unknown_websocket_crash"),
    (3000, "The AI agent you are trying to reach does not exist.", UpstreamRequestError, "agent_not_found"),
    (3000, "Request error", UpstreamRequestError, "conversation_refused"),
    (3000, "Could not authorize the conversation", UpstreamRequestError, "conversation_refused"),
    (3008, "", UpstreamConcurrencyError, "concurrent_limit_exceeded"),
    (3008, "too many concurrent connections", UpstreamConcurrencyError, "concurrent_limit_exceeded"),
    (1008, "too_many_concurrent_requests", UpstreamConcurrencyError, "concurrent_limit_exceeded"),
    (1002, "system_busy", UpstreamBusyError, "system_busy"),
    (1014, "", UpstreamUnavailableError, "closed"),
    (3999, "", UpstreamUnavailableError, "closed"),
    (4000, "", UpstreamUnavailableError, "closed"),
    (4999, "who knows", UpstreamUnavailableError, "closed"),
]


@pytest.mark.parametrize(("code", "reason", "expected", "word"), CLOSES)
def test_a_close_becomes_its_class_with_our_word_and_elevenlabs_sentence(
    code: int, reason: str, expected: type[UpstreamError], word: str
) -> None:
    error = error_from_close(code, reason)
    assert type(error) is expected
    assert (error.code, error.close_code, error.status) == (word, code, None)
    assert error.message == reason or (not reason and str(code) in error.message)


@pytest.mark.parametrize("reason", ["", "max_duration_exceeded", "User ended conversation", "quota_exceeded"])
def test_a_normal_close_is_no_error_whatever_its_reason(reason: str) -> None:
    assert error_from_close(1000, reason) is None


EVENTS = [
    (
        {"error_event": {"code": 1002, "error_type": "llm_timeout", "message": "The model took too long."}},
        UpstreamTimeoutError, "llm_timeout", "The model took too long.",
    ),
    (
        {"error_event": {"code": 1008, "reason": "override_error"}},
        UpstreamRequestError, "override_error", "override_error",
    ),
    (
        {"message": "received 1002 (protocol error) This request exceeds your quota limit."},
        UpstreamQuotaError, "quota_exceeded", "received 1002 (protocol error) This request exceeds your quota limit.",
    ),
    ({"message": "received 1011 (internal error)"}, UpstreamUnavailableError, "unknown_websocket_crash",
     "received 1011 (internal error)"),
    ({"error_event": {}}, UpstreamUnavailableError, "operational_error",
     "ElevenLabs closed the conversation with 1002 and no reason."),
    ({"error_event": {"code": "1008", "message": 7}}, UpstreamUnavailableError, "operational_error",
     "ElevenLabs closed the conversation with 1002 and no reason."),
]  # fmt: skip


@pytest.mark.parametrize(("event", "expected", "word", "message"), EVENTS)
def test_an_error_event_is_read_in_both_its_forms(
    event: dict[str, Any], expected: type[UpstreamError], word: str, message: str
) -> None:
    error = error_from_event({"type": "error"} | event)
    assert type(error) is expected
    assert (error.code, error.message, str(error)) == (word, message, message)


def test_an_error_event_that_announces_a_normal_end_is_no_error() -> None:
    event = {"type": "error", "error_event": {"code": 1000, "error_type": "max_duration_exceeded"}}
    assert error_from_event(event) is None
