"""Which faults and codes there are that somebody would be woken for: their series are there before they happen.

The key decision: they are read off the tables by which failures are judged, so that a row that is added there has its
series without anybody thinking of it. What a caller did wrong is left out: it wakes nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.elevenlabs.asking import fault_and_code
from service.elevenlabs.fault_actions import FaultDomain
from service.elevenlabs.fault_rules import CLOSE_RULES, HTTP_RULES, WIRE_RULES
from service.elevenlabs.faults import error_from_response
from service.errors import (
    LimiterFullError,
    LimiterTimeoutError,
    PoolExhaustedError,
    PoolTimeoutError,
    SecretsUnavailableError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from service.metrics_elevenlabs_codes import ErrorCode

_STATUSES = (401, 402, 403, 429, 500, 502, 503, 504)
_SAID_BY_US = (
    UpstreamProtocolError("", code="wrong_content_type"),
    UpstreamProtocolError("", code="no_audio"),
    UpstreamProtocolError("", code="missing_metadata"),
    UpstreamProtocolError("", code="silent"),
    UpstreamTimeoutError("", code="first_audio_timeout"),
    UpstreamTimeoutError("", code="first_audio_late"),
    UpstreamTimeoutError("", code="answer_stalled"),
    PoolTimeoutError(""),
    PoolExhaustedError(""),
    LimiterTimeoutError(""),
    LimiterFullError(""),
    SecretsUnavailableError(""),
)


def known_faults() -> set[tuple[FaultDomain, str]]:
    """Pairs of a domain and a code."""
    pairs = {fault_and_code(error) for error in _errors()}
    return {(domain, code) for domain, code in pairs if domain is not FaultDomain.CALLER and code in _CODES}


def _errors() -> Iterator[Exception]:
    yield from _SAID_BY_US
    for close in CLOSE_RULES:
        yield close.error("", code=close.code)
    for wire in WIRE_RULES:
        yield wire.error("", code=wire.code)
    for rule in HTTP_RULES:
        for word in rule.words or ():
            yield rule.error("", code=word)
    for status in _STATUSES:
        yield error_from_response(status, {}, b"")


_CODES = frozenset(each.value for each in ErrorCode)
