"""Every status, word and body form of an HTTP answer, against a list written by hand from ElevenLabs' reference."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from service.elevenlabs.faults import MAX_ERROR_BODY_BYTES, error_from_response, retry_after_seconds
from service.errors import (
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamPolicyError,
    UpstreamProtocolError,
    UpstreamQuotaError,
    UpstreamRequestError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

REFERENCE_CODES = [
    *[(404, "not_found", code, UpstreamRequestError) for code in (
        "voice_not_found", "sample_not_found", "voice_collection_not_found", "user_not_found",
        "auth_account_not_found", "workspace_not_found", "project_not_found", "history_item_not_found",
        "collection_not_found", "document_not_found", "file_not_found", "conversation_not_found", "agent_not_found",
        "dubbing_not_found", "song_not_found", "read_not_found", "pronunciation_dictionary_not_found",
        "knowledge_base_not_found", "phone_number_not_found", "tool_not_found", "snapshot_not_found",
        "task_not_found", "model_not_found", "transcript_not_found", "keywords_list_not_found", "category_not_found",
    )],
    *[(400, "validation_error", code, UpstreamRequestError) for code in (
        "text_too_long", "text_too_short", "invalid_text", "empty_text", "invalid_parameters",
        "missing_required_field", "invalid_voice_settings", "invalid_voice_id", "unsupported_model", "invalid_audio",
        "invalid_audio_format", "invalid_output_format", "audio_too_long", "audio_too_short", "invalid_file_type",
        "invalid_page_size", "invalid_cursor",
    )],
    *[(400, "invalid_request", code, UpstreamRequestError) for code in (
        "bad_request", "malformed_json", "invalid_content_type", "request_too_large",
    )],
    *[(401, "authentication_error", code, UpstreamKeyError) for code in (
        "invalid_api_key", "missing_api_key", "invalid_authorization_header", "unauthorized", "sign_in_required",
    )],
    *[(403, "authorization_error", code, UpstreamPolicyError) for code in (
        "forbidden", "insufficient_permissions", "workspace_access_denied", "feature_not_available",
        "subscription_required", "voice_access_denied", "model_access_denied",
    )],
    *[(409, "conflict", code, UpstreamRequestError) for code in (
        "conflict", "resource_already_exists", "voice_already_exists", "already_running", "already_processing",
        "concurrent_modification", "slug_already_exists",
    )],
    (429, "rate_limit_error", "rate_limit_exceeded", UpstreamBusyError),
    (429, "rate_limit_error", "concurrent_limit_exceeded", UpstreamConcurrencyError),
    (429, "rate_limit_error", "system_busy", UpstreamBusyError),
    (402, "payment_required", "insufficient_credits", UpstreamQuotaError),
    (500, "internal_error", "internal_error", UpstreamUnavailableError),
    (503, "service_unavailable", "service_unavailable", UpstreamBusyError),
    (503, "service_unavailable", "maintenance", UpstreamBusyError),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind", "code", "expected"), REFERENCE_CODES)
def test_a_code_of_the_reference_becomes_its_class_with_all_that_it_says(
    status: int, kind: str, code: str, expected: type[UpstreamError]
) -> None:
    detail = {"type": kind, "code": code, "message": "Said so.", "status": code, "request_id": "r1", "param": "text"}
    error = error_from_response(status, {}, json.dumps({"detail": detail}).encode())
    assert type(error) is expected
    assert (error.code, error.type, error.status, error.param) == (code, kind, status, "text")
    assert (error.message, error.request_id, error.close_code) == ("Said so.", "r1", None)


LEGACY = [
    (401, "quota_exceeded", UpstreamQuotaError),
    (401, "detected_unusual_activity", UpstreamKeyError),
    (401, "invalid_api_key", UpstreamKeyError),
    (400, "invalid_api_key", UpstreamKeyError),
    (400, "max_character_limit_exceeded", UpstreamRequestError),
    (400, "voice_not_found", UpstreamRequestError),
    (403, "only_for_creator+", UpstreamPolicyError),
    (429, "too_many_concurrent_requests", UpstreamConcurrencyError),
    (429, "system_busy", UpstreamBusyError),
]


@pytest.mark.parametrize(("status", "word", "expected"), LEGACY)
def test_the_old_form_with_only_a_status_word_is_read(status: int, word: str, expected: type[UpstreamError]) -> None:
    body = json.dumps({"detail": {"status": word, "message": "Old words."}}).encode()
    error = error_from_response(status, {}, body)
    assert type(error) is expected
    assert (error.code, error.message) == (word, "Old words.")


SENTENCES = [
    (401, "This request exceeds your quota of 10000. You have 0 credits remaining.", UpstreamQuotaError),
    (401, "This request exceeds your API key quota of 10.", UpstreamQuotaError),
    (401, "Unauthenticated", UpstreamKeyError),
    (
        429,
        "Too many concurrent requests. Your subscription is associated with a maximum of 5 concurrent requests.",
        UpstreamConcurrencyError,
    ),
    (429, "Slow down.", UpstreamBusyError),
    (400, "Too many concurrent requests are not the trouble at this status.", UpstreamRequestError),
    (500, "A page that says: exceeds your quota.", UpstreamUnavailableError),
]


@pytest.mark.parametrize(("status", "sentence", "expected"), SENTENCES)
def test_a_detail_that_is_only_a_sentence_is_read_and_kept(
    status: int, sentence: str, expected: type[UpstreamError]
) -> None:
    error = error_from_response(status, {}, json.dumps({"detail": sentence}).encode())
    assert type(error) is expected
    assert error.message == sentence
    assert error.code == f"http_{status}"


BARE = [
    (200, UpstreamProtocolError),
    (204, UpstreamProtocolError),
    (302, UpstreamProtocolError),
    (400, UpstreamRequestError),
    (401, UpstreamKeyError),
    (402, UpstreamQuotaError),
    (403, UpstreamPolicyError),
    (404, UpstreamRequestError),
    (405, UpstreamRequestError),
    (408, UpstreamTimeoutError),
    (409, UpstreamRequestError),
    (413, UpstreamRequestError),
    (418, UpstreamRequestError),
    (422, UpstreamRequestError),
    (425, UpstreamBusyError),
    (429, UpstreamBusyError),
    (500, UpstreamUnavailableError),
    (502, UpstreamUnavailableError),
    (503, UpstreamBusyError),
    (504, UpstreamTimeoutError),
    (520, UpstreamUnavailableError),
    (599, UpstreamUnavailableError),
    (600, UpstreamProtocolError),
]
MEANINGLESS = [
    b"",
    b"<html>Bad Gateway</html>",
    b"\xff\xfe\x00",
    b"[]",
    b"null",
    b'"x"',
    b'{"detail":null}',
    b'{"detail":7}',
    b'{"detail":[]}',
    b'{"detail":["x",7]}',
    b'{"detail":{"code":7,"message":[]}}',
    b'{"deta',
    b"[" * 5_000,
]


@pytest.mark.parametrize(("status", "expected"), BARE)
@pytest.mark.parametrize("body", MEANINGLESS)
def test_a_body_that_says_nothing_leaves_the_status_to_decide(
    status: int, expected: type[UpstreamError], body: bytes
) -> None:
    error = error_from_response(status, {}, body)
    assert type(error) is expected
    assert str(status) in error.message
    assert error.status == status


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("authentication_error", UpstreamKeyError),
        ("authorization_error", UpstreamPolicyError),
        ("payment_required", UpstreamQuotaError),
        ("validation_error", UpstreamRequestError),
        ("invalid_request", UpstreamRequestError),
        ("not_found", UpstreamRequestError),
        ("conflict", UpstreamRequestError),
        ("rate_limit_error", UpstreamBusyError),
        ("service_unavailable", UpstreamBusyError),
        ("internal_error", UpstreamUnavailableError),
    ],
)
def test_a_type_decides_where_the_status_does_not_go_with_it(kind: str, expected: type[UpstreamError]) -> None:
    body = json.dumps({"detail": {"type": kind, "code": "something_new"}}).encode()
    assert type(error_from_response(418, {}, body)) is expected


def test_a_validation_list_names_every_place_and_the_first_as_the_parameter() -> None:
    detail = [
        {"loc": ["body", "voice_settings", "stability"], "msg": "Input should be at most 1", "type": "less_than"},
        {"loc": ["query", "output_format"], "msg": "Input should be 'mp3'", "type": "enum"},
    ]
    error = error_from_response(422, {}, json.dumps({"detail": detail}).encode())
    assert type(error) is UpstreamRequestError
    assert error.message == (
        "voice_settings.stability: Input should be at most 1; output_format: Input should be 'mp3'"
    )
    assert (error.param, error.type) == ("voice_settings.stability", "validation_error")


def test_a_body_over_the_bound_is_not_read() -> None:
    body = json.dumps({"detail": {"code": "quota_exceeded", "message": "x" * MAX_ERROR_BODY_BYTES}}).encode()
    assert type(error_from_response(401, {}, body)) is UpstreamKeyError


def test_a_long_message_is_cut() -> None:
    error = error_from_response(400, {}, json.dumps({"detail": "x" * 5_000}).encode())
    assert len(error.message) == 1_000


def test_the_request_id_of_the_headers_stands_in_for_that_of_the_body() -> None:
    assert error_from_response(500, {"request-id": "from-header"}, b"").request_id == "from-header"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), (" 7 ", 7.0), ("0", 0.0), ("1.5", 1.5), ("3600", 3600.0), ("999999999", 3600.0),
     (None, None), ("", None), ("soon", None), ("-1", None),
     ("inf", None), ("nan", None), ("1e9", None), ("9" * 400, None), ("Wed, 99 Nov 2026 10:00:00 GMT", None)],
)  # fmt: skip
def test_retry_after_in_seconds_is_read_and_nonsense_is_not(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value) == seconds


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_retry_after_as_a_date_is_believed_for_an_hour_at_most(date: str) -> None:
    assert retry_after_seconds(date) == 3600.0


def test_a_date_at_the_beginning_of_time_is_no_wait() -> None:
    assert retry_after_seconds("Mon, 01 Jan 0001 00:00:00 +2359") == 0.0


@pytest.mark.parametrize("ahead_seconds", [120, -120])
def test_retry_after_as_a_date_is_the_time_from_now_and_never_negative(ahead_seconds: int) -> None:
    when = datetime.now(UTC) + timedelta(seconds=ahead_seconds)
    seconds = retry_after_seconds(format_datetime(when, usegmt=True))
    assert seconds is not None
    assert max(0, ahead_seconds) - 30 <= seconds <= max(0, ahead_seconds)


def test_retry_after_reaches_the_error() -> None:
    assert error_from_response(429, {"retry-after": "3"}, b"").retry_after == 3.0
