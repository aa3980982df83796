"""The metrics of who speaks: breakers, their probes, changes of the provider, and the admins' overrides.

The key decision: as in `metrics.py`, callers tell what happened and labels come from closed sets. Only the providers of
the configured chain get series (`start_series`), because changes are counted by four labels, and most providers are
used by nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import permutations

from prometheus_client import Counter, Gauge

from service import metrics  # noqa: F401 (first of all: it decides where every metric of the process lies)
from service.minute_tally import TALLY, MinuteCount


class FailoverCause(StrEnum):
    """Why another provider speaks: in the client's event, the metric and the ledger."""

    CONNECTION_LOST = "connection_lost"  # no close frame came
    CLOSED = "closed"  # with a code that says that something broke
    FIRST_AUDIO_LATE = "first_audio_late"
    ANSWER_STALLED = "answer_stalled"  # it began, and did not go on
    SILENT = "silent"  # nothing at all came for too long, or audio without a sound
    TRUNCATED = "truncated"
    BROKEN_PROTOCOL = "broken_protocol"
    UNREACHABLE = "unreachable"  # no connection came about
    SERVER_ERROR = "server_error"  # the request was answered with a 5xx
    BUSY = "busy"
    QUOTA = "quota"
    KEY = "key"
    CONCURRENCY = "concurrency"  # no slot of the account came free
    POLICY = "policy"  # the account's plan forbids it
    NO_ROOM = "no_room"  # a bound of our own
    AGENT_BROKEN = "agent_broken"  # what the operator has connected to the agent fails
    REFUSED = "refused"  # the request itself: no reason to go elsewhere
    FORCED = "forced"  # an operator's override
    RETURNED = "returned"  # the primary is well again
    RESUMED = "resumed"  # another worker goes on with the conversation


WISHED = frozenset({FailoverCause.FORCED, FailoverCause.RETURNED, FailoverCause.RESUMED})
"""Causes that are no provider's failure."""


class BreakerState(StrEnum):
    """What a worker thinks of a provider."""

    CLOSED = "closed"  # it is well
    OPEN = "open"  # it is left alone
    HALF_OPEN = "half_open"  # it is probed
    RAMP = "ramp"  # it is well again, and gets a growing share


class ProbeResult(StrEnum):
    """How a probe ended."""

    GOOD = "good"
    BAD = "bad"
    UNCLEAR = "unclear"  # it failed by a fault of ours, and is made again


BREAKER_STATE = Gauge(
    "vocero_breaker_state",
    "Workers that have this opinion of a provider: closed (it is well), open, half_open (it is probed), ramp.",
    ["provider", "capability", "state"],
    multiprocess_mode="livesum",
)
BREAKER_PROBES = Counter(
    "vocero_breaker_probes",
    "Probes of a provider that was left alone, by how they ended.",
    ["provider", "capability", "result"],
)
PROVIDER_SWITCHES = Counter(
    "vocero_provider_switches",
    "Conversations and requests that went on with another provider than they had, by why.",
    ["capability", "from", "to", "cause"],
)
OVERRIDE_MODE = Gauge(
    "vocero_override_mode",
    "Workers that obey this mode of an override; auto: there is none, or it has expired.",
    ["capability", "mode"],
    multiprocess_mode="livesum",
)
OVERRIDE_SET = Gauge(
    "vocero_override_set_timestamp_seconds",
    "Unix time at which the override was set that is in force, of the worker with the newest; 0: there is none.",
    ["capability"],
    multiprocess_mode="livemax",
)


def breaker_is(provider: str, capability: StrEnum, state: BreakerState) -> None:
    """Tell what this worker thinks of a provider from now on."""
    for each in BreakerState:
        labels = {"provider": provider, "capability": capability.value, "state": each.value}
        BREAKER_STATE.labels(**labels).set(each is state)


def breaker_probed(provider: str, capability: StrEnum, result: ProbeResult) -> None:
    """Count a probe that this worker has made."""
    BREAKER_PROBES.labels(provider=provider, capability=capability.value, result=result.value).inc()


def provider_switched(capability: StrEnum, before: str, after: str, cause: FailoverCause) -> None:
    """Count that `after` goes on in the place of `before`."""
    PROVIDER_SWITCHES.labels(**_switch(capability, before, after, cause)).inc()
    if cause not in WISHED:
        TALLY.add(MinuteCount.FAILOVERS)


def override_is(capability: StrEnum, mode: StrEnum, *, set_at: float) -> None:
    """Tell the mode that this worker obeys, and the Unix time at which it was set (0: never, or it is over)."""
    for each in type(mode):
        OVERRIDE_MODE.labels(capability=capability.value, mode=each.value).set(each is mode)
    OVERRIDE_SET.labels(capability=capability.value).set(set_at)


def start_series(providers: Sequence[str], capabilities: Sequence[StrEnum]) -> None:
    """Have every series of these there at 0: one that appears with its first event hides it from `increase()`."""
    for capability in capabilities:
        for provider in providers:
            for result in ProbeResult:
                BREAKER_PROBES.labels(provider=provider, capability=capability.value, result=result.value)
        for before, after in permutations(providers, 2):
            for cause in FailoverCause:
                PROVIDER_SWITCHES.labels(**_switch(capability, before, after, cause))


def _switch(capability: StrEnum, before: str, after: str, cause: FailoverCause) -> dict[str, str]:
    return {"capability": capability.value, "from": before, "to": after, "cause": cause.value}
