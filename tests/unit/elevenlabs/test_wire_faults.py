"""Exceptions of the wire, built as the libraries build them, in each phase of a request."""

from __future__ import annotations

import http.client
import socket
import ssl

import pytest
import requests.exceptions
import urllib3.exceptions

from service.elevenlabs.faults import Phase, error_from_exception
from service.errors import (
    ConnectionClosedError,
    FrameError,
    HandshakeError,
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamConnectError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamProtocolError,
    UpstreamRequestError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    WriteDeadlineError,
)

SECRET = "sk_invented_canary"
POOL = urllib3.HTTPConnectionPool("127.0.0.1", 9)


def wrapped(cause: BaseException) -> requests.exceptions.ConnectionError:
    """As requests wraps what broke while it sent or waited."""
    request = requests.Request("POST", "http://127.0.0.1:9/", headers={"xi-api-key": SECRET}).prepare()
    aborted = urllib3.exceptions.ProtocolError("Connection aborted.", cause)
    return requests.exceptions.ConnectionError(aborted, request=request)


def gave_up(reason: Exception) -> urllib3.exceptions.MaxRetryError:
    return urllib3.exceptions.MaxRetryError(POOL, f"/?key={SECRET}", reason)


NEVER_SENT = [
    (socket.gaierror(-2, "Name or service not known"), "name_not_resolved"),
    (ConnectionRefusedError(111, "refused"), "connect_failed"),
    (ssl.SSLCertVerificationError(1, "self-signed"), "tls_failed"),
    (requests.exceptions.ConnectTimeout(SECRET), "connect_timeout"),
    (urllib3.exceptions.ConnectTimeoutError(POOL, "late"), "connect_timeout"),
    (
        requests.exceptions.ConnectionError(gave_up(urllib3.exceptions.NewConnectionError(POOL.pool, "no"))),
        "connect_failed",
    ),
]


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.ANSWER])
@pytest.mark.parametrize(("exc", "word"), NEVER_SENT)
def test_what_can_only_come_before_a_connection_says_that_nothing_was_sent(
    exc: BaseException, word: str, phase: Phase
) -> None:
    error = error_from_exception(exc, phase)
    assert type(error) is UpstreamConnectError
    assert error.code == word


@pytest.mark.parametrize(
    ("exc", "word"),
    [
        (TimeoutError("slow"), "connect_timeout"),
        (urllib3.exceptions.ReadTimeoutError(POOL, "/", "slow handshake"), "connect_timeout"),
        (ssl.SSLError(1, "wrong version"), "tls_failed"),
        (ConnectionResetError(104, "reset"), "connect_failed"),
        (OSError(101, "unreachable"), "connect_failed"),
    ],
)
def test_whatever_breaks_while_connecting_says_that_nothing_was_sent(exc: BaseException, word: str) -> None:
    error = error_from_exception(exc, Phase.CONNECT)
    assert type(error) is UpstreamConnectError
    assert error.code == word


@pytest.mark.parametrize(
    ("exc", "expected", "word"),
    [
        (requests.exceptions.ReadTimeout(SECRET), UpstreamTimeoutError, "read_timeout"),
        (wrapped(TimeoutError("write")), UpstreamTimeoutError, "read_timeout"),
        (wrapped(http.client.RemoteDisconnected("gone")), UpstreamUnavailableError, "connection_lost"),
        (wrapped(ConnectionResetError(104, "reset")), UpstreamUnavailableError, "connection_lost"),
        (wrapped(BrokenPipeError(32, "pipe")), UpstreamUnavailableError, "connection_lost"),
        (requests.exceptions.SSLError(ssl.SSLError(1, "eof")), UpstreamUnavailableError, "connection_lost"),
        (wrapped(http.client.BadStatusLine("garbage")), UpstreamProtocolError, "senseless_answer"),
        (wrapped(http.client.LineTooLong("header")), UpstreamProtocolError, "senseless_answer"),
        (OSError(5, "odd"), UpstreamUnavailableError, "connection_lost"),
    ],
)
def test_what_breaks_before_the_answers_head_may_have_been_acted_on(
    exc: BaseException, expected: type[UpstreamError], word: str
) -> None:
    error = error_from_exception(exc, Phase.ANSWER)
    assert type(error) is expected
    assert not isinstance(error, UpstreamConnectError)
    assert error.code == word


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (urllib3.exceptions.ReadTimeoutError(POOL, "/", "slow"), UpstreamTimeoutError),
        (TimeoutError("slow"), UpstreamTimeoutError),
        (
            urllib3.exceptions.ProtocolError("Connection broken", http.client.IncompleteRead(b"x", 9)),
            UpstreamProtocolError,
        ),
        (urllib3.exceptions.ProtocolError("Connection broken", ConnectionResetError()), UpstreamProtocolError),
        (urllib3.exceptions.SSLError(ssl.SSLEOFError(8, "eof")), UpstreamProtocolError),
    ],
)
def test_a_body_that_breaks_off_is_told_from_one_that_falls_silent(
    exc: BaseException, expected: type[UpstreamError]
) -> None:
    assert type(error_from_exception(exc, Phase.BODY)) is expected


@pytest.mark.parametrize(
    ("exc", "expected", "word"),
    [
        (HandshakeError(401, b'{"detail":{"code":"invalid_api_key"}}'), UpstreamKeyError, "invalid_api_key"),
        (HandshakeError(429, b'{"detail":{"status":"system_busy"}}'), UpstreamBusyError, "system_busy"),
        (HandshakeError(101, b"no accept"), UpstreamProtocolError, "http_101"),
        (ConnectionClosedError(3008, ""), UpstreamConcurrencyError, "concurrent_limit_exceeded"),
        (ConnectionClosedError(1008, "override_error"), UpstreamRequestError, "override_error"),
        (ConnectionClosedError(1000, ""), UpstreamProtocolError, "conversation_ended"),
        (FrameError(1002, "reserved bits"), UpstreamProtocolError, "broken_frame"),
        (WriteDeadlineError(1013, "the peer does not read"), UpstreamTimeoutError, "write_timeout"),
    ],
)
def test_errors_of_our_own_wire_are_read_too(exc: BaseException, expected: type[UpstreamError], word: str) -> None:
    error = error_from_exception(exc, Phase.CONNECT)
    assert type(error) is expected
    assert error.code == word


def test_an_error_that_was_read_already_stays_as_it_is() -> None:
    error = UpstreamConnectError("No.", code="connect_failed")
    assert error_from_exception(error, Phase.BODY) is error


@pytest.mark.parametrize("phase", list(Phase))
def test_no_message_quotes_a_foreign_exception(phase: Phase) -> None:
    for exc in (
        OSError(SECRET),
        wrapped(ConnectionResetError(SECRET)),
        gave_up(Exception(SECRET)),
        TimeoutError(SECRET),
    ):
        error = error_from_exception(exc, phase)
        assert SECRET not in f"{error!s} {error!r} {vars(error)}"
