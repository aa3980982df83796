"""Why a conversation ended, and what its client is told: the one place that words it.

The key decision: an ending is a value made from an error, so whoever ends a conversation need not know how it is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from service.elevenlabs.fault_actions import FaultDomain, fault_of
from service.elevenlabs.faults import error_from_exception
from service.errors import (
    CapacityError,
    ConnectionClosedError,
    FrameError,
    LimiterFullError,
    LimiterTimeoutError,
    MaintenanceError,
    RequestError,
    SecretsUnavailableError,
    ServiceUnavailableError,
    SocketError,
    TooManyRequestsError,
    UpstreamError,
    WriteDeadlineError,
)
from service.metrics_conversations import EndReason

log = structlog.get_logger(__name__)

ACCOUNT_FULL = 3008
"""What ElevenLabs closes with when no slot of the account came free in time."""

NO_PROVIDER = "no_provider"
"""The code of an error that says that nobody is left who could speak."""

TAKEN_ELSEWHERE = 4409
"""What a connection is closed with whose conversation goes on over another one."""

BY_OPERATOR = "An operator has ended the conversation."
RESTARTS = "The service is restarting; connect again."
GOES_ON = "The conversation goes on over another connection."
NO_ROOM = "No conversation can be taken now; try again."
SILENT_PEER = "nothing came from the peer"
"""The reason of a close that nobody sent: the connection may be there, but nobody is at its other end."""

_LEAVING = frozenset({1000, 1001, 1005})
_OF_SERVICE = {
    1000: EndReason.DISABLED,  # by itself the service ends none that politely: an operator does
    1012: EndReason.DRAINED,
    1013: EndReason.LIMIT,
    ACCOUNT_FULL: EndReason.LIMIT,
    TAKEN_ELSEWHERE: EndReason.TAKEN_OVER,
}


@dataclass(frozen=True)
class Ending:
    """Why a conversation ended: who ended it, and the code and reason that the client's socket closes with.

    `why` is given where these do not tell it for the metrics (`category`).
    """

    by: str  # client | agent | service
    code: int
    reason: str
    why: EndReason | None = None

    @property
    def category(self) -> EndReason:
        """Why, as one of a few."""
        if self.why is not None:
            return self.why
        if self.by == "service":
            return _OF_SERVICE.get(self.code, EndReason.INTERNAL)
        if self.code in _LEAVING:
            return EndReason.NORMAL
        return EndReason.LEFT if self.by == "client" else EndReason.PROVIDER_FAILED


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
        return Ending(by, exc.close_code, exc.message, _why_refused(exc))
    if isinstance(exc, UpstreamError):
        return ending_of_agent_side(exc)
    if isinstance(exc, SocketError):
        return Ending("client", 1000 if exc.code in _LEAVING else exc.code, exc.reason, _why_gone(exc))
    return Ending("client", 1006, "nothing came from the client", EndReason.IDLE)


def _why_refused(exc: RequestError) -> EndReason:
    if isinstance(exc, MaintenanceError):
        return EndReason.DISABLED
    if isinstance(exc, SecretsUnavailableError):
        return EndReason.INTERNAL
    if isinstance(exc, ServiceUnavailableError):
        return EndReason.PROVIDER_FAILED if exc.code == NO_PROVIDER else EndReason.LIMIT
    return EndReason.LIMIT if isinstance(exc, TooManyRequestsError) else EndReason.REFUSED


def _why_gone(exc: SocketError) -> EndReason | None:
    if isinstance(exc, FrameError):
        return EndReason.REFUSED
    return EndReason.IDLE if exc.code == 1006 and exc.reason == SILENT_PEER else None


def ending_of_agent_side(exc: Exception) -> Ending:
    """The ending for an error of the agent's, when nobody else speaks in its place."""
    ending = _ending_of_agent_side(exc)
    if ending.code == 1000:
        return ending
    error = exc if isinstance(exc, UpstreamError) else error_from_exception(exc)
    is_callers = fault_of(error).domain is FaultDomain.CALLER
    return replace(ending, why=EndReason.REFUSED if is_callers else EndReason.PROVIDER_FAILED)


def _ending_of_agent_side(exc: Exception) -> Ending:
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
