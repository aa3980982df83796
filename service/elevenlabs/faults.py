"""Read a failure of ElevenLabs once and say it in our own classes.

The key decision: nobody else looks at a status, a close code, a reason or a transport exception. Messages are either
ElevenLabs' own sentence or ours; never the text of a foreign exception, which can hold headers and with them the key.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from service.elevenlabs.fault_actions import FailoverCause, Fault, FaultAction, FaultDomain, fault_of
from service.elevenlabs.fault_rules import CLOSE_RULES, HTTP_RULES, WIRE_RULES, HttpRule, Phase
from service.elevenlabs.vocabulary import CloseCode
from service.errors import (
    ConnectionClosedError,
    FrameError,
    HandshakeError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    WriteDeadlineError,
)

__all__ = [
    "MAX_ERROR_BODY_BYTES",
    "FailoverCause",
    "Fault",
    "FaultAction",
    "FaultDomain",
    "Phase",
    "error_from_close",
    "error_from_event",
    "error_from_exception",
    "error_from_response",
    "fault_of",
    "retry_after_seconds",
]

MAX_ERROR_BODY_BYTES = 65_536
"""What is read of an error's body at most; what does not fit is no error of ElevenLabs."""

MAX_MESSAGE_CHARACTERS = 1_000

MAX_RETRY_AFTER_SECONDS = 3_600.0
"""What is believed of a `Retry-After`: we pass it on, and a clock or a word gone wrong must not keep clients off."""

_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")
_CODE_IN_TEXT = re.compile(r"received (\d{4})\b")


# --- HTTP ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Detail:
    """What an error's body says, in whichever of its four forms."""

    message: str | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    request_id: str | None = None
    words: frozenset[str] = frozenset()


def error_from_response(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error that an HTTP answer other than a success stands for.

    `headers` have lower-case names, or ignore case. `body` may be anything, cut off at `MAX_ERROR_BODY_BYTES`.
    """
    detail = _read_detail(body[: MAX_ERROR_BODY_BYTES + 1])
    rule = next(rule for rule in HTTP_RULES if _fits(rule, status, detail))
    return rule.error(
        (detail.message or f"ElevenLabs answered HTTP {status} without an explanation.")[:MAX_MESSAGE_CHARACTERS],
        code=detail.code or f"http_{status}",
        type=detail.type,
        status=status,
        param=detail.param,
        request_id=detail.request_id or headers.get("request-id"),
        retry_after=retry_after_seconds(headers.get("retry-after")),
    )


def _fits(rule: HttpRule, status: int, detail: _Detail) -> bool:
    return (
        (rule.statuses is None or status in rule.statuses)
        and (rule.words is None or not rule.words.isdisjoint(detail.words))
        and (rule.pattern is None or rule.pattern.search(detail.message or "") is not None)
    )


def _read_detail(body: bytes) -> _Detail:
    if len(body) > MAX_ERROR_BODY_BYTES:
        return _Detail()
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _Detail()
    detail = document.get("detail") if isinstance(document, dict) else None
    if isinstance(detail, str):
        return _Detail(message=detail)
    if isinstance(detail, list):
        return _read_validation(detail)
    return _read_object(detail) if isinstance(detail, dict) else _Detail()


def _read_object(detail: Mapping[str, object]) -> _Detail:
    code, status, kind = _text(detail.get("code")), _text(detail.get("status")), _text(detail.get("type"))
    return _Detail(
        message=_text(detail.get("message")),
        code=code or status,
        type=kind,
        param=_text(detail.get("param")),
        request_id=_text(detail.get("request_id")),
        words=frozenset(word for word in (code, status, kind) if word),
    )


def _read_validation(problems: list[object]) -> _Detail:
    """FastAPI's form: a list of `{"loc": ["body", "text"], "msg": "...", "type": "..."}`."""
    sentences, first_place = [], None
    for problem in problems:
        if not isinstance(problem, dict):
            continue
        loc = problem.get("loc")
        place = ".".join(str(part) for part in loc if part not in ("body", "query")) if isinstance(loc, list) else ""
        first_place = first_place or place
        sentences.append(f"{place}: {_text(problem.get('msg')) or 'invalid'}".removeprefix(": "))
    return _Detail(
        message="; ".join(sentences) or None, code="invalid_parameters", type="validation_error", param=first_place
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def retry_after_seconds(value: str | None) -> float | None:
    """Seconds from a `Retry-After` header (RFC 9110 section 10.2.3: seconds or a date); None if it makes no sense.

    Never less than 0 nor more than `MAX_RETRY_AFTER_SECONDS`.
    """
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return min(max(0.0, (when - datetime.now(UTC)).total_seconds()), MAX_RETRY_AFTER_SECONDS)


# --- Sockets -------------------------------------------------------------------------------------------------------


def error_from_close(code: int, reason: str) -> UpstreamError | None:
    """The error that a conversation's close stands for; None for a normal end."""
    if code == CloseCode.NORMAL:
        return None
    rule = next(
        rule
        for rule in CLOSE_RULES
        if (rule.codes is None or code in rule.codes) and (rule.pattern is None or rule.pattern.search(reason))
    )
    message = reason[:MAX_MESSAGE_CHARACTERS] or f"ElevenLabs closed the conversation with {code} and no reason."
    return rule.error(message, code=rule.code, close_code=code)


def error_from_event(event: Mapping[str, object]) -> UpstreamError | None:
    """The error that an `error` event stands for; None for the announcement of a normal end.

    Both forms are read: `{"error_event": {"code", "message", ...}}`, and `{"message": "received 1002 (...) ..."}`.
    """
    nested = event.get("error_event")
    fields = nested if isinstance(nested, dict) else event
    said = [text for name in ("error_type", "reason", "message") if (text := _text(fields.get(name)))]
    code = fields.get("code")
    if not isinstance(code, int):
        found = _CODE_IN_TEXT.search(" ".join(said))
        code = int(found[1]) if found else CloseCode.OPERATIONAL
    error = error_from_close(code, " ".join(said))
    if error is not None and said:
        error.message = said[-1][:MAX_MESSAGE_CHARACTERS]  # the sentence without the words before it
        error.args = (error.message,)
    return error


# --- The wire ------------------------------------------------------------------------------------------------------


def error_from_exception(exc: BaseException, phase: Phase = Phase.ANSWER) -> UpstreamError:
    """The error that an exception of requests, urllib3, ssl, socket or `service.websocket` stands for.

    `phase` decides whether the request can have left us. Raise the result outside of the `except` block (or `from
    None`): requests' exceptions carry the request and its headers.
    """
    if isinstance(exc, UpstreamError):
        return exc
    if isinstance(exc, HandshakeError):
        return error_from_response(exc.status, exc.headers, exc.body)
    if isinstance(exc, ConnectionClosedError):
        return error_from_close(exc.code, exc.reason) or UpstreamProtocolError(
            "ElevenLabs ended the conversation before its answer.", code="conversation_ended", close_code=exc.code
        )
    if isinstance(exc, WriteDeadlineError):
        return UpstreamTimeoutError("ElevenLabs does not take our frames.", code="write_timeout")
    if isinstance(exc, FrameError):
        return UpstreamProtocolError(f"ElevenLabs sent a broken frame: {exc.reason}.", code="broken_frame")
    wrapped = tuple(_unwrap(exc))
    rule = next(
        rule for rule in WIRE_RULES if phase in rule.phases and any(isinstance(one, rule.exceptions) for one in wrapped)
    )
    return rule.error(rule.message, code=rule.code)


def _unwrap(exc: BaseException, depth: int = 0) -> Iterator[BaseException]:
    """The exception and those that requests and urllib3 put into its arguments or its `reason`."""
    yield exc
    if depth < 5:
        for inner in (*exc.args, getattr(exc, "reason", None)):
            if isinstance(inner, BaseException):
                yield from _unwrap(inner, depth + 1)
