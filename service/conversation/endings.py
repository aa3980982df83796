"""Why a conversation ended, and what its client is told: the one place that words it.

The key decision: an ending is a value made from an error, so whoever ends a conversation need not know how it is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from service.errors import (
    CapacityError,
    ConnectionClosedError,
    LimiterFullError,
    LimiterTimeoutError,
    RequestError,
    ServiceUnavailableError,
    SocketError,
    UpstreamError,
    WriteDeadlineError,
)

log = structlog.get_logger(__name__)

ACCOUNT_FULL = 3008
"""What ElevenLabs closes with when no slot of the account came free in time."""

TAKEN_ELSEWHERE = 4409
"""What a connection is closed with whose conversation goes on over another one."""

RESTARTS = "The service is restarting; connect again."
GOES_ON = "The conversation goes on over another connection."
NO_ROOM = "No conversation can be taken now; try again."
_LEAVING = frozenset({1000, 1001, 1005})


@dataclass(frozen=True)
class Ending:
    """Why a conversation ended: who ended it, and the code and reason that the client's socket closes with."""

    by: str  # client | agent | service
    code: int
    reason: str


def is_lost(exc: Exception) -> bool:
    """Whether a client that is gone so may want to come back: nothing told us that it left, as a page does (1001)."""
    return isinstance(exc, WriteDeadlineError) or (isinstance(exc, ConnectionClosedError) and exc.code == 1006)


def ending_of_client_side(exc: Exception) -> Ending:
    """The ending for an error of the client's, or of ours before there was an agent."""
    if isinstance(exc, CapacityError):
        log.warning("no room for a conversation", reason=str(exc))
        of_account = isinstance(exc, LimiterTimeoutError | LimiterFullError)
        return Ending("service", ACCOUNT_FULL if of_account else ServiceUnavailableError.close_code, NO_ROOM)
    if isinstance(exc, RequestError):
        by = "service" if isinstance(exc, ServiceUnavailableError) else "client"
        return Ending(by, exc.close_code, exc.message)
    if isinstance(exc, UpstreamError):
        return ending_of_agent_side(exc)
    if isinstance(exc, SocketError):
        return Ending("client", 1000 if exc.code in _LEAVING else exc.code, exc.reason)
    return Ending("client", 1006, "nothing came from the client")


def ending_of_agent_side(exc: Exception) -> Ending:
    """The ending for an error of the agent's, when nobody else speaks in its place."""
    if isinstance(exc, ConnectionClosedError):
        if exc.code in {1005, 1006}:
            return Ending("agent", 1011, "The connection to ElevenLabs was lost.")
        return Ending("agent", exc.code, exc.reason)
    if isinstance(exc, WriteDeadlineError):
        return Ending("agent", 1011, "ElevenLabs does not take what it is sent.")
    if isinstance(exc, SocketError):
        return Ending("agent", 1011, f"ElevenLabs broke the protocol: {exc.reason}.")
    if isinstance(exc, UpstreamError):
        return Ending("agent", exc.close_code or 1011, exc.public_message)
    return Ending("agent", 1011, "ElevenLabs has gone silent.")
