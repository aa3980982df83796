"""The tables: what ElevenLabs' statuses, words, close codes and a broken wire mean for us.

The key decision: a failure is read once, here, by the first row that fits from top to bottom; what follows from it is
the row's class of `service.errors`. `service.elevenlabs.faults` applies the tables. Sources: ElevenLabs' error
reference, its `agents.asyncapi.yaml`, and bodies and reasons reported by users (elevenlabs/packages issues 626, 911).
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from enum import Enum
from typing import NamedTuple

import requests
import urllib3.exceptions

from service.errors import (
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamConnectError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamPolicyError,
    UpstreamProtocolError,
    UpstreamQuotaError,
    UpstreamRequestError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

# --- An HTTP answer ------------------------------------------------------------------------------------------------


class HttpRule(NamedTuple):
    """Fits when each of these that is set fits.

    `words` are looked for in the body's `code`, `status` (the old form's code) and `type`; `pattern` in its message.
    """

    error: type[UpstreamError]
    statuses: range | frozenset[int] | None = None
    words: frozenset[str] | None = None
    pattern: re.Pattern[str] | None = None


def _words(*words: str) -> frozenset[str]:
    return frozenset(words)


def _only(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


QUOTA_TEXT = re.compile(r"exceeds your (?:[\w ]*)quota|quota_exceeded|insufficient_credits", re.IGNORECASE)
CONCURRENCY_TEXT = re.compile(
    r"too[ _]many[ _]concurrent|concurrent_limit_exceeded|maximum of \d+ concurrent", re.IGNORECASE
)

HTTP_RULES = (
    # Words first: an old 401 may be a quota, and both kinds of 429 look alike from outside.
    HttpRule(UpstreamQuotaError, words=_words("quota_exceeded", "insufficient_credits", "payment_required")),
    HttpRule(UpstreamConcurrencyError, words=_words("concurrent_limit_exceeded", "too_many_concurrent_requests")),
    HttpRule(
        UpstreamBusyError, words=_words("system_busy", "rate_limit_exceeded", "service_unavailable", "maintenance")
    ),
    HttpRule(UpstreamKeyError, words=_words("invalid_api_key", "missing_api_key", "detected_unusual_activity")),
    # Bodies whose `detail` is only a sentence.
    HttpRule(UpstreamQuotaError, _only(400, 401, 402, 403, 429), pattern=QUOTA_TEXT),
    HttpRule(UpstreamConcurrencyError, _only(429), pattern=CONCURRENCY_TEXT),
    # Types, for a status that does not go with them.
    HttpRule(UpstreamKeyError, words=_words("authentication_error")),
    HttpRule(UpstreamPolicyError, words=_words("authorization_error")),
    HttpRule(UpstreamRequestError, words=_words("validation_error", "invalid_request", "not_found", "conflict")),
    HttpRule(UpstreamBusyError, words=_words("rate_limit_error")),
    HttpRule(UpstreamUnavailableError, words=_words("internal_error")),
    # And the bare status.
    HttpRule(UpstreamKeyError, _only(401)),
    HttpRule(UpstreamQuotaError, _only(402)),
    HttpRule(UpstreamPolicyError, _only(403)),
    HttpRule(UpstreamTimeoutError, _only(408, 504)),
    HttpRule(UpstreamBusyError, _only(425, 429, 503)),
    HttpRule(UpstreamRequestError, range(400, 500)),
    HttpRule(UpstreamUnavailableError, range(500, 600)),
    # A redirect or a success that is none: not an answer that this API gives.
    HttpRule(UpstreamProtocolError),
)

# --- A closed conversation -----------------------------------------------------------------------------------------


class CloseRule(NamedTuple):
    """Fits when the close code is among `codes` (None: any) and the reason has `pattern`; `code` is our word for it."""

    error: type[UpstreamError]
    code: str
    codes: range | frozenset[int] | None
    pattern: re.Pattern[str] | None = None


def _reason(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


CLOSE_RULES = (
    # The account's troubles come with several codes (1002 and 1008 are both seen for quota).
    CloseRule(UpstreamQuotaError, "quota_exceeded", None, QUOTA_TEXT),
    CloseRule(UpstreamConcurrencyError, "concurrent_limit_exceeded", None, CONCURRENCY_TEXT),
    CloseRule(UpstreamBusyError, "system_busy", None, _reason(r"system_busy|heavy traffic")),
    CloseRule(UpstreamKeyError, "invalid_api_key", None, _reason(r"invalid[_ ]api[_ ]key")),
    CloseRule(UpstreamPolicyError, "safety_violation", _only(1002, 1008), _reason(r"safety")),
    CloseRule(UpstreamRequestError, "agent_misconfigured", _only(1002, 1008), _reason(r"misconfigured")),
    # 1002 is ElevenLabs' "operational": a part of it failed. The longest word stands first where one holds another.
    CloseRule(UpstreamTimeoutError, "llm_timeout", _only(1002), _reason(r"llm_timeout")),
    CloseRule(UpstreamTimeoutError, "transport_receive_timeout", _only(1002), _reason(r"transport_receive_timeout")),
    CloseRule(UpstreamTimeoutError, "asyncio_timeout", _only(1002), _reason(r"asyncio_timeout")),
    CloseRule(UpstreamTimeoutError, "redis_timeout_error", _only(1002), _reason(r"redis_timeout_error")),
    CloseRule(UpstreamUnavailableError, "http_exception", _only(1002), _reason(r"http_exception")),
    CloseRule(UpstreamUnavailableError, "custom_llm_error", _only(1002), _reason(r"custom_llm_error")),
    CloseRule(UpstreamUnavailableError, "llm_error", _only(1002), _reason(r"llm_error")),
    CloseRule(UpstreamUnavailableError, "cascade_brain_error", _only(1002), _reason(r"cascade_brain_error")),
    CloseRule(UpstreamUnavailableError, "asr_transcription_error", _only(1002), _reason(r"asr_transcription_error")),
    CloseRule(UpstreamUnavailableError, "vad_error", _only(1002), _reason(r"vad_error")),
    CloseRule(UpstreamUnavailableError, "turn_probability_error", _only(1002), _reason(r"turn_probability_error")),
    CloseRule(UpstreamUnavailableError, "tts_cascade_error", _only(1002), _reason(r"tts_cascade_error")),
    CloseRule(UpstreamUnavailableError, "operational_error", _only(1002)),
    # 1008: the client, or what it asked for, breaks the contract.
    CloseRule(UpstreamRequestError, "first_message_override_refused", _only(1008), _reason(r"override.*first_message")),
    CloseRule(UpstreamRequestError, "override_error", _only(1008), _reason(r"override")),
    CloseRule(UpstreamRequestError, "missing_dynamic_variable", _only(1008), _reason(r"missing.*dynamic[_ ]variable")),
    CloseRule(UpstreamRequestError, "missing_fields", _only(1008), _reason(r"missing_fields")),
    CloseRule(UpstreamRequestError, "value_error", _only(1008), _reason(r"value_error")),
    CloseRule(UpstreamRequestError, "invalid_message", _only(1008), _reason(r"invalid[_ ]message")),
    CloseRule(UpstreamRequestError, "contract_violation", _only(1008)),
    # Codes with which a peer says that our frames are at fault.
    CloseRule(UpstreamRequestError, "unsupported_data", _only(1003, 1007)),
    CloseRule(UpstreamRequestError, "message_too_big", _only(1009)),
    # ElevenLabs' own.
    CloseRule(UpstreamRequestError, "agent_not_found", _only(3000), _reason(r"does not exist")),
    CloseRule(UpstreamRequestError, "conversation_refused", _only(3000)),
    CloseRule(UpstreamConcurrencyError, "concurrent_limit_exceeded", _only(3008)),
    # The transport's.
    CloseRule(UpstreamUnavailableError, "going_away", _only(1001, 1012)),
    CloseRule(UpstreamUnavailableError, "connection_lost", _only(1005, 1006, 1015)),
    CloseRule(UpstreamUnavailableError, "unknown_websocket_crash", _only(1011)),
    CloseRule(UpstreamBusyError, "try_again_later", _only(1013)),
    CloseRule(UpstreamUnavailableError, "closed", None),
)

# --- A broken wire -------------------------------------------------------------------------------------------------


class Phase(Enum):
    """How far a request had got when the wire broke."""

    CONNECT = "before the request left us"
    ANSWER = "after the request may have left us, before the answer's head"
    BODY = "in the middle of the answer's body"


class WireRule(NamedTuple):
    """Fits when the phase is among `phases` and the exception, or one wrapped in it, is one of `exceptions`."""

    error: type[UpstreamError]
    code: str
    message: str
    phases: frozenset[Phase]
    exceptions: tuple[type[BaseException], ...]


_ANY = frozenset(Phase)
_CONNECT = frozenset({Phase.CONNECT})
_ANSWER = frozenset({Phase.ANSWER})
_BODY = frozenset({Phase.BODY})

_TIMEOUTS = (
    TimeoutError,
    requests.exceptions.Timeout,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ReadTimeoutError,
)

WIRE_RULES = (
    # Wherever it is caught, these can only come before a connection stands. NewConnectionError is a
    # ConnectTimeoutError by inheritance, and requests' ConnectTimeout is a Timeout: hence their place up here.
    WireRule(
        UpstreamConnectError, "name_not_resolved", "ElevenLabs' host name could not be resolved.", _ANY,
        (socket.gaierror, urllib3.exceptions.NameResolutionError),
    ),
    WireRule(
        UpstreamConnectError, "tls_failed", "ElevenLabs' certificate could not be verified.", _ANY,
        (ssl.SSLCertVerificationError,),
    ),
    WireRule(
        UpstreamConnectError, "connect_failed", "No connection to ElevenLabs could be made.", _ANY,
        (ConnectionRefusedError, urllib3.exceptions.NewConnectionError),
    ),
    WireRule(
        UpstreamConnectError, "connect_timeout", "ElevenLabs could not be reached in time.", _ANY,
        (requests.exceptions.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError),
    ),
    WireRule(
        UpstreamConnectError, "connect_timeout", "ElevenLabs could not be reached in time.", _CONNECT, _TIMEOUTS
    ),
    WireRule(UpstreamConnectError, "tls_failed", "No TLS connection to ElevenLabs could be made.", _CONNECT,
             (ssl.SSLError, urllib3.exceptions.SSLError)),
    WireRule(
        UpstreamConnectError, "connect_failed", "No connection to ElevenLabs could be made.", _CONNECT,
        (BaseException,),
    ),
    # From here on the request may have been acted on.
    WireRule(UpstreamTimeoutError, "read_timeout", "ElevenLabs did not answer in time.", _ANSWER, _TIMEOUTS),
    WireRule(UpstreamTimeoutError, "read_timeout", "ElevenLabs fell silent in its answer.", _BODY, _TIMEOUTS),
    WireRule(UpstreamProtocolError, "truncated", "ElevenLabs' answer broke off.", _BODY, (BaseException,)),
    # RemoteDisconnected is a BadStatusLine too; a lost connection is not a senseless answer.
    WireRule(
        UpstreamUnavailableError, "connection_lost", "ElevenLabs hung up without an answer.", _ANSWER,
        (ConnectionError, ssl.SSLError, urllib3.exceptions.SSLError),
    ),
    WireRule(
        UpstreamProtocolError, "senseless_answer", "ElevenLabs' answer is not HTTP.", _ANSWER,
        (http.client.HTTPException,),
    ),
    WireRule(
        UpstreamUnavailableError, "connection_lost", "The connection to ElevenLabs was lost.", _ANY, (BaseException,)
    ),
)  # fmt: skip
