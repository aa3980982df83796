"""The closed sets of `elevenlabs_errors_total`: whose fault a failure is, and which words for it are counted apart.

The key decision: ElevenLabs may send any word as a code, and a metric must not grow with them. A word gets a series
here when somebody at night would act on it; all others are `other`, and stand in the log.
"""

from __future__ import annotations

from enum import StrEnum


class FaultDomain(StrEnum):
    """Whose fault it is."""

    CALLER = "caller"  # who asked, or what was asked
    POLICY = "policy"  # the plan or a rule of safety
    QUOTA = "quota"  # what the account may use: credits, or slots
    KEY = "key"
    PROVIDER = "provider"
    NETWORK = "network"  # between us and the provider
    US = "us"


class ErrorCode(StrEnum):
    """The words that are counted apart; what they mean stands in `service.elevenlabs.fault_rules`."""

    # The account: credits, slots, key, plan.
    QUOTA_EXCEEDED = "quota_exceeded"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    CONCURRENT_LIMIT_EXCEEDED = "concurrent_limit_exceeded"
    TOO_MANY_CONCURRENT_REQUESTS = "too_many_concurrent_requests"
    LIMITER_TIMEOUT = "limiter_timeout"
    LIMITER_FULL = "limiter_full"
    INVALID_API_KEY = "invalid_api_key"
    MISSING_API_KEY = "missing_api_key"
    DETECTED_UNUSUAL_ACTIVITY = "detected_unusual_activity"
    SECRETS_UNAVAILABLE = "secrets_unavailable"
    SAFETY_VIOLATION = "safety_violation"
    SUBSCRIPTION_REQUIRED = "subscription_required"
    FEATURE_NOT_AVAILABLE = "feature_not_available"
    FORBIDDEN = "forbidden"
    MODEL_ACCESS_DENIED = "model_access_denied"
    VOICE_ACCESS_DENIED = "voice_access_denied"
    # ElevenLabs: it is too busy, or a part of it fails.
    SYSTEM_BUSY = "system_busy"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    TRY_AGAIN_LATER = "try_again_later"
    SERVICE_UNAVAILABLE = "service_unavailable"
    MAINTENANCE = "maintenance"
    INTERNAL_ERROR = "internal_error"
    LLM_TIMEOUT = "llm_timeout"
    LLM_ERROR = "llm_error"
    CUSTOM_LLM_ERROR = "custom_llm_error"
    CASCADE_BRAIN_ERROR = "cascade_brain_error"
    ASR_TRANSCRIPTION_ERROR = "asr_transcription_error"
    VAD_ERROR = "vad_error"
    TURN_PROBABILITY_ERROR = "turn_probability_error"
    TTS_CASCADE_ERROR = "tts_cascade_error"
    TRANSPORT_RECEIVE_TIMEOUT = "transport_receive_timeout"
    ASYNCIO_TIMEOUT = "asyncio_timeout"
    REDIS_TIMEOUT_ERROR = "redis_timeout_error"
    HTTP_EXCEPTION = "http_exception"
    OPERATIONAL_ERROR = "operational_error"
    UNKNOWN_WEBSOCKET_CRASH = "unknown_websocket_crash"
    GOING_AWAY = "going_away"
    CLOSED = "closed"
    # Its answers: late, broken, none.
    READ_TIMEOUT = "read_timeout"
    WRITE_TIMEOUT = "write_timeout"
    ANSWER_TIMEOUT = "answer_timeout"
    FIRST_AUDIO_TIMEOUT = "first_audio_timeout"
    FIRST_AUDIO_LATE = "first_audio_late"
    ANSWER_STALLED = "answer_stalled"
    SILENT = "silent"
    NO_AUDIO = "no_audio"
    TRUNCATED = "truncated"
    BROKEN_FRAME = "broken_frame"
    SENSELESS_ANSWER = "senseless_answer"
    SENSELESS_FRAME = "senseless_frame"
    MISSING_METADATA = "missing_metadata"
    INVALID_UPSTREAM_MESSAGE = "invalid_upstream_message"
    WRONG_CONTENT_TYPE = "wrong_content_type"
    FOREIGN_SIGNED_URL = "foreign_signed_url"
    OTHER_AUDIO_FORMAT = "other_audio_format"
    # The way there.
    NAME_NOT_RESOLVED = "name_not_resolved"
    TLS_FAILED = "tls_failed"
    CONNECT_FAILED = "connect_failed"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECTION_LOST = "connection_lost"
    POOL_TIMEOUT = "pool_timeout"
    POOL_EXHAUSTED = "pool_exhausted"
    # A bare status.
    HTTP_400 = "http_400"
    HTTP_401 = "http_401"
    HTTP_402 = "http_402"
    HTTP_403 = "http_403"
    HTTP_404 = "http_404"
    HTTP_422 = "http_422"
    HTTP_429 = "http_429"
    HTTP_500 = "http_500"
    HTTP_502 = "http_502"
    HTTP_503 = "http_503"
    HTTP_504 = "http_504"
    # What was asked: no series before the first of them.
    VOICE_NOT_FOUND = "voice_not_found"
    AGENT_NOT_FOUND = "agent_not_found"
    MODEL_NOT_FOUND = "model_not_found"
    CONVERSATION_NOT_FOUND = "conversation_not_found"
    INVALID_PARAMETERS = "invalid_parameters"
    TEXT_TOO_LONG = "text_too_long"
    EMPTY_TEXT = "empty_text"
    FIRST_MESSAGE_OVERRIDE_REFUSED = "first_message_override_refused"
    OVERRIDE_ERROR = "override_error"
    MISSING_DYNAMIC_VARIABLE = "missing_dynamic_variable"
    MISSING_FIELDS = "missing_fields"
    VALUE_ERROR = "value_error"
    INVALID_MESSAGE = "invalid_message"
    CONTRACT_VIOLATION = "contract_violation"
    UNSUPPORTED_DATA = "unsupported_data"
    MESSAGE_TOO_BIG = "message_too_big"
    AGENT_MISCONFIGURED = "agent_misconfigured"
    CONVERSATION_ENDED = "conversation_ended"
    CONVERSATION_REFUSED = "conversation_refused"
    UNEXPECTED = "unexpected"  # no word at all
