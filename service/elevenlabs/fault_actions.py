"""Whose fault a failure is, and what is to be done about it.

The key decision: the class of the error says it (`service.elevenlabs.faults` has read everything else), by one table
from the class or the nearest one that it is derived from; a few of ElevenLabs' words say it better than their class.
Three questions are answered apart: what to do first, whether another provider may help when that is done, and whether
the failure is evidence against the provider as a whole.

Why another provider may be asked, or not:

* a provider's or the network's failure, an empty account and a refused key are not shared by another provider;
* no slot of the account came free: another provider has slots of its own;
* what the account's plan forbids, another provider may do. What a rule of safety forbids it may not: that would be the
  way around the rule;
* what is wrong about a request stays wrong. That is nobody's failure, so it is no evidence either: an empty text, a
  turn of tool calls alone, an override that the agent refuses, a user who interrupts or leaves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from service import errors
from service.metrics_elevenlabs_codes import FaultDomain
from service.metrics_fallback import FailoverCause

__all__ = ["FailoverCause", "Fault", "FaultAction", "FaultDomain", "fault_of"]

UNKNOWN_CODE = "unexpected"


class FaultAction(StrEnum):
    """What is to be done."""

    REPORT = "report"
    WAIT_FOR_SLOT = "wait_for_slot"
    RETRY = "retry"
    NEXT_PROVIDER = "next_provider"
    OTHER_KEY = "other_key"


@dataclass(frozen=True)
class Fault:
    """A failure that was judged. `code` is the error's own word, for logs; `cause` is one of a closed set.

    `may_go_elsewhere`: another provider may be asked, at the latest when `action` was of no use. `is_evidence`: it
    speaks against the provider as a whole, not against this one request.
    """

    domain: FaultDomain
    action: FaultAction
    code: str
    cause: FailoverCause
    may_go_elsewhere: bool = False
    is_evidence: bool = False


@dataclass(frozen=True)
class _Rule:
    domain: FaultDomain
    first: FaultAction
    cause: FailoverCause
    goes_on: bool
    is_evidence: bool = False


_C = FailoverCause
_REPORT, _NEXT, _RETRY = FaultAction.REPORT, FaultAction.NEXT_PROVIDER, FaultAction.RETRY
_CALLER = _Rule(FaultDomain.CALLER, _REPORT, _C.REFUSED, goes_on=False)
_SAFETY = _Rule(FaultDomain.POLICY, _REPORT, _C.POLICY, goes_on=False)
_OF_OURS = _Rule(FaultDomain.US, _REPORT, _C.NO_ROOM, goes_on=False)
_NO_ROOM = _Rule(FaultDomain.US, _NEXT, _C.NO_ROOM, goes_on=True)
_NO_SLOT = _Rule(FaultDomain.QUOTA, FaultAction.WAIT_FOR_SLOT, _C.CONCURRENCY, goes_on=True)
_NO_KEY = _Rule(FaultDomain.KEY, FaultAction.OTHER_KEY, _C.KEY, goes_on=True, is_evidence=True)
_AGENT = _Rule(FaultDomain.US, _NEXT, _C.AGENT_BROKEN, goes_on=True)


def _provider(cause: FailoverCause, domain: FaultDomain = FaultDomain.PROVIDER) -> _Rule:
    return _Rule(domain, _RETRY, cause, goes_on=True, is_evidence=True)


BY_CLASS: Mapping[type[BaseException], _Rule] = MappingProxyType(
    {
        # Ours. Whatever stands nowhere here is a bug or a setting of ours: another provider does not mend it.
        BaseException: _OF_OURS,
        errors.RequestError: _CALLER,
        errors.ServiceUnavailableError: _NO_ROOM,
        errors.MaintenanceError: _OF_OURS,  # it is meant
        errors.SecretsUnavailableError: _Rule(FaultDomain.KEY, _NEXT, _C.KEY, goes_on=True),  # not the provider's
        # A client's socket; of the provider's own, `error_from_exception` makes an UpstreamError.
        errors.SocketError: _CALLER,
        errors.HandshakeError: _provider(_C.UNREACHABLE),
        errors.UnansweredError: _provider(_C.UNREACHABLE, FaultDomain.NETWORK),
        errors.CapacityError: _NO_ROOM,
        # Nearly always a connection that does not come about: the pool's bound is as wide as all conversations.
        errors.PoolTimeoutError: _provider(_C.UNREACHABLE, FaultDomain.NETWORK),
        errors.LimiterTimeoutError: _NO_SLOT,
        errors.LimiterFullError: _NO_SLOT,
        # The provider's
        errors.UpstreamError: _provider(_C.CLOSED),
        errors.UpstreamRequestError: _CALLER,
        errors.UpstreamPolicyError: _Rule(FaultDomain.POLICY, _NEXT, _C.POLICY, goes_on=True),
        errors.UpstreamKeyError: _NO_KEY,
        # It stays empty for everybody, so it is evidence; slots come free again, so they are none.
        errors.UpstreamQuotaError: _Rule(FaultDomain.QUOTA, _NEXT, _C.QUOTA, goes_on=True, is_evidence=True),
        errors.UpstreamConcurrencyError: _NO_SLOT,
        errors.UpstreamBusyError: _provider(_C.BUSY),
        errors.UpstreamUnavailableError: _provider(_C.SERVER_ERROR),
        errors.UpstreamConnectError: _provider(_C.UNREACHABLE, FaultDomain.NETWORK),
        errors.UpstreamTimeoutError: _provider(_C.SILENT),
        errors.UpstreamProtocolError: _provider(_C.BROKEN_PROTOCOL),
    }
)

BY_CODE: Mapping[str, _Rule] = MappingProxyType(
    {
        "connection_lost": _provider(_C.CONNECTION_LOST, FaultDomain.NETWORK),
        "write_timeout": _provider(_C.CONNECTION_LOST, FaultDomain.NETWORK),
        # The agent has ended it as it may: with its tool, or because its time was over.
        "conversation_ended": _CALLER,
        # The operator's own language model: it fails for that agent alone, and at every account.
        "custom_llm_error": _AGENT,
        # A second account's agent that is not set up as the first one's.
        "other_audio_format": _AGENT,
    }
)
"""For words that are ours or ElevenLabs' in `fault_rules`, whatever the class; of UpstreamErrors alone."""

_SAFETY_WORDS = re.compile(r"safety|moderat|violat|prohibit|harmful|abus|terms[_ ]of", re.IGNORECASE)


def fault_of(exc: BaseException, *, untried: bool = False) -> Fault:
    """Judge a failure.

    `ElevenLabsService` has waited for a slot, tried the other keys and repeated what may be repeated before an error
    leaves it, so what is left of these three is to go to the next provider. `untried` is for who sees it before that.
    """
    rule = _rule_of(exc)
    action = rule.first
    if not untried and rule.goes_on:
        action = FaultAction.NEXT_PROVIDER
    return Fault(
        domain=rule.domain,
        action=action,
        code=_code_of(exc),
        cause=_cause_of(exc, rule),
        may_go_elsewhere=rule.goes_on,
        is_evidence=rule.is_evidence,
    )


def _rule_of(exc: BaseException) -> _Rule:
    if isinstance(exc, errors.UpstreamError) and exc.code in BY_CODE:
        return BY_CODE[exc.code]
    if isinstance(exc, errors.UpstreamPolicyError) and _SAFETY_WORDS.search(f"{exc.code} {exc.message}"):
        return _SAFETY
    return next(BY_CLASS[one] for one in type(exc).__mro__ if one in BY_CLASS)


def _code_of(exc: BaseException) -> str:
    code = getattr(exc, "code", None)
    return str(code) if isinstance(code, str | int) else UNKNOWN_CODE


def _cause_of(exc: BaseException, rule: _Rule) -> FailoverCause:
    """The rule's, or the error's own word if it is one of ours, or that the connection was closed."""
    if rule.is_evidence and isinstance(exc, errors.UpstreamError):
        if exc.code in _OWN_WORDS:
            return FailoverCause(exc.code)
        if exc.close_code is not None and rule.cause in _LESS_THAN_CLOSED:
            return FailoverCause.CLOSED
    return rule.cause


_OWN_WORDS = frozenset(
    {_C.FIRST_AUDIO_LATE, _C.ANSWER_STALLED, _C.SILENT, _C.TRUNCATED, _C.CONNECTION_LOST, _C.BROKEN_PROTOCOL}
)
_LESS_THAN_CLOSED = frozenset({_C.SERVER_ERROR, _C.SILENT})
"""What such a class means for a request; of a conversation that was closed with a code, the close is known."""
