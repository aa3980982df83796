"""The metrics of ElevenLabs as we meet it: requests, errors, connections, slots, repetitions, characters, quota.

The key decision: as in `metrics.py`, callers tell what happened and labels come from closed sets. What a pool, a
limiter or a retrier counts for itself anyway is not counted a second time: its numbers are taken over once a second
(`service.elevenlabs.gauges`). So a request pays for two counters and two histograms, and a frame for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from prometheus_client import Counter, Gauge, Histogram

from service.metrics import OTHER  # first of all: it decides where every metric of the process lies
from service.metrics_elevenlabs_codes import ErrorCode, FaultDomain
from service.minute_tally import TALLY, MinuteCount

REQUEST_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WAIT_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Operation(StrEnum):
    """What is asked of ElevenLabs."""

    CONVERSATION = "conversation"  # a socket to an agent, with the signed URL that it needs
    SIGNED_URL = "signed_url"
    SPEECH = "speech"
    SPEECH_SOCKET = "speech_socket"  # text in bit by bit, sound out
    PAST_CONVERSATION = "past_conversation"  # what one has cost
    DELETION = "deletion"
    SUBSCRIPTION = "subscription"  # how much of the quota is used


class RequestOutcome(StrEnum):
    """How a request ended."""

    SUCCESS = "success"
    FAILURE = "failure"


class PoolName(StrEnum):
    """The connections for conversations, and those for requests."""

    AGENTS = "agents"
    SPEECH = "speech"


class ConnectionState(StrEnum):
    """Where a connection of a pool is."""

    IDLE = "idle"
    LENT = "lent"
    OPENING = "opening"


class PoolEvent(StrEnum):
    """What pools count; see `PoolStats`."""

    OPENED = "opened"
    REUSED = "reused"
    FAILED = "failed"  # could not be opened
    LOST = "lost"  # found broken when it was to be lent
    TIMEOUT = "timeout"  # nobody gave one back in time
    ABANDONED = "abandoned"  # its borrower forgot it: a fault of ours


class LimiterName(StrEnum):
    """The slots of the account: for conversations, and for speech requests."""

    AGENTS = "agents"
    SPEECH = "speech"


class SlotPriority(StrEnum):
    """Who is served first."""

    LIVE_TURN = "live_turn"
    GREETING = "greeting"
    OTHER = "other"


class RetryOutcome(StrEnum):
    """What became of the wish to repeat a request."""

    RETRIED = "retried"
    GAVE_UP = "gave_up"  # no attempt, or no time, was left
    BUDGET_SPENT = "budget_spent"


class HedgeOutcome(StrEnum):
    """Which of two requests for the same speech was heard."""

    WON = "won"  # the second
    LOST = "lost"


class CharacterKind(StrEnum):
    """What became of characters."""

    SENT = "sent"
    BILLED = "billed"
    HEARD = "heard"
    WASTED = "wasted"


class QuotaKind(StrEnum):
    """What ElevenLabs says of the account's period."""

    USED = "used"
    LIMIT = "limit"


REQUESTS = Counter(
    "elevenlabs_requests",
    "Requests to ElevenLabs by operation and outcome, each counted once however often it was repeated.",
    ["operation", "outcome"],
)
ERRORS = Counter(
    "elevenlabs_errors",
    "What went wrong at ElevenLabs, also in the middle of a conversation, by whose fault it is and by its code.",
    ["operation", "domain", "code"],
)
REQUEST_SECONDS = Histogram(
    "elevenlabs_request_duration_seconds",
    "Time from a request that succeeded to the first byte of its answer (of a conversation: to its open socket), with"
    " its wait for a slot and for a connection, and with its repetitions.",
    ["operation"],
    buckets=REQUEST_BUCKETS,
)
CONNECTIONS_ACTIVE = Gauge(
    "elevenlabs_pool_connections_active",
    "Connections to ElevenLabs that are in use: of the pool agents these are the open conversations.",
    ["pool"],
    multiprocess_mode="livesum",
)
CHARACTERS = Counter(
    "elevenlabs_characters",
    "Characters of text: sent to be spoken, billed (ElevenLabs says so), heard by a client, wasted (spoken, unheard).",
    ["kind"],
)
QUOTA = Gauge(
    "elevenlabs_quota_characters",
    "Characters (credits) of the account's period as ElevenLabs says, read every ten minutes: used, limit; 0: unknown.",
    ["kind"],
    multiprocess_mode="livemax",
)
POOL_CONNECTIONS = Gauge(
    "vocero_pool_connections",
    "Connections of a pool by state: idle (ready), lent, opening.",
    ["pool", "state"],
    multiprocess_mode="livesum",
)
POOL_WAITING = Gauge(
    "vocero_pool_waiting",
    "Callers that wait for a connection now.",
    ["pool"],
    multiprocess_mode="livesum",
)
POOL_WAIT_SECONDS = Histogram(
    "vocero_pool_wait_seconds",
    "Time from asking for a connection to having one, or to the error instead.",
    ["pool"],
    buckets=WAIT_BUCKETS,
)
POOL_EVENTS = Counter(
    "vocero_pool_events",
    "What happened to connections: opened, reused, failed (to open), lost (found broken), abandoned; and timeouts of"
    " callers who waited in vain.",
    ["pool", "event"],
)
POOL_LIMIT = Gauge(
    "vocero_pool_limit",
    "Connections that there may be at most, of all workers.",
    ["pool"],
    multiprocess_mode="livesum",
)
LIMITER_CAP = Gauge(
    "vocero_limiter_cap",
    "Slots of the account that may be held now, by all workers together; 0: not bounded here.",
    ["limiter"],
    multiprocess_mode="livemax",
)
LIMITER_IN_USE = Gauge(
    "vocero_limiter_in_use",
    "Slots of the account that are held, by all workers together.",
    ["limiter"],
    multiprocess_mode="livemax",
)
LIMITER_WAITING = Gauge(
    "vocero_limiter_waiting",
    "Callers that wait for a slot of the account, of all workers together.",
    ["limiter"],
    multiprocess_mode="livemax",
)
LIMITER_WAIT_SECONDS = Histogram(
    "vocero_limiter_wait_seconds",
    "Time from asking for a slot of the account to having one, or to the error instead.",
    ["limiter", "priority"],
    buckets=WAIT_BUCKETS,
)
LIMITER_TIMEOUTS = Counter(
    "vocero_limiter_timeouts",
    "Callers for whom no slot of the account came free in time.",
    ["limiter"],
)
RETRIES = Counter(
    "vocero_retries",
    "Failed attempts that might have been repeated: retried, gave_up (no attempt or time left), budget_spent.",
    ["operation", "outcome"],
)
RETRY_BUDGET = Gauge(
    "vocero_retry_budget_tokens",
    "Requests that workers may repeat at this moment, of all workers.",
    multiprocess_mode="livesum",
)
HEDGES = Counter(
    "vocero_hedges",
    "Speech that was asked for a second time because it was late, by whether the second request won.",
    ["outcome"],
)

# Looked up once: `labels` takes longer than to count.
_REQUESTS = {
    (operation, outcome): REQUESTS.labels(operation=operation.value, outcome=outcome.value)
    for operation in Operation
    for outcome in RequestOutcome
}
_REQUEST_SECONDS = {each: REQUEST_SECONDS.labels(operation=each.value) for each in Operation}
_CHARACTERS = {each: CHARACTERS.labels(kind=each.value) for each in CharacterKind}
_POOL_WAITS = {each: POOL_WAIT_SECONDS.labels(pool=each.value) for each in PoolName}
_LIMITER_WAITS = {
    (limiter, priority): LIMITER_WAIT_SECONDS.labels(limiter=limiter.value, priority=priority.value)
    for limiter in LimiterName
    for priority in SlotPriority
}


# --- Requests


def request_answered(operation: Operation, seconds: float) -> None:
    """Tell how long the answer to a request took to begin."""
    _REQUEST_SECONDS[operation].observe(seconds)


def request_ended(operation: Operation, outcome: RequestOutcome) -> None:
    """Count a request."""
    _REQUESTS[operation, outcome].inc()
    if operation is not Operation.SIGNED_URL:
        TALLY.add(MinuteCount.REQUESTS)
    if operation is Operation.SPEECH:
        TALLY.add(MinuteCount.SPEECH_REQUESTS)


def error_happened(operation: Operation, domain: FaultDomain, code: str) -> None:
    """Count what went wrong; a `code` that `ErrorCode` does not have is counted as `other`."""
    ERRORS.labels(operation=operation.value, domain=domain.value, code=_known(code)).inc()
    if domain in _PROVIDERS_FAULT:
        TALLY.add(MinuteCount.ERRORS)


def start_errors(found: Iterable[tuple[FaultDomain, str]]) -> None:
    """Have the series of these faults and codes there at 0, where users feel them: in conversations and in speech."""
    for domain, code in found:
        for operation in (Operation.CONVERSATION, Operation.SPEECH):
            ERRORS.labels(operation=operation.value, domain=domain.value, code=_known(code))


def _known(code: str) -> str:
    return code if code in _CODES else OTHER


_CODES = frozenset(each.value for each in ErrorCode)
_PROVIDERS_FAULT = frozenset({FaultDomain.PROVIDER, FaultDomain.NETWORK})


# --- Characters


def characters_sent(count: int) -> None:
    """Count characters that ElevenLabs has taken to speak them."""
    _CHARACTERS[CharacterKind.SENT].inc(count)


def characters_billed(count: int) -> None:
    """Count characters as ElevenLabs has put them on the bill."""
    _CHARACTERS[CharacterKind.BILLED].inc(count)


def characters_heard(count: int) -> None:
    """Count characters whose sound was sent to a client."""
    _CHARACTERS[CharacterKind.HEARD].inc(count)


def characters_wasted(count: int) -> None:
    """Count characters that ElevenLabs spoke and nobody heard, because they were interrupted or left."""
    _CHARACTERS[CharacterKind.WASTED].inc(count)


def quota_is(*, used: int, limit: int) -> None:
    """Tell how much of the account's quota is used, of how much."""
    QUOTA.labels(kind=QuotaKind.USED.value).set(used)
    QUOTA.labels(kind=QuotaKind.LIMIT.value).set(limit)


# --- Connections and slots


def pool_is(pool: PoolName, *, idle: int, lent: int, opening: int, waiting: int, limit: int) -> None:
    """Tell what a pool of this worker looks like now."""
    for state, count in zip(ConnectionState, (idle, lent, opening), strict=True):
        POOL_CONNECTIONS.labels(pool=pool.value, state=state.value).set(count)
    CONNECTIONS_ACTIVE.labels(pool=pool.value).set(lent)
    POOL_WAITING.labels(pool=pool.value).set(waiting)
    POOL_LIMIT.labels(pool=pool.value).set(limit)


def pool_did(pool: PoolName, event: PoolEvent, count: int) -> None:
    """Count what happened in a pool since this was last told."""
    POOL_EVENTS.labels(pool=pool.value, event=event.value).inc(count)


def pool_waited(pool: PoolName, seconds: float) -> None:
    """Tell how long a caller waited for a connection, whether it got one or not."""
    _POOL_WAITS[pool].observe(seconds)


def limiter_is(limiter: LimiterName, *, cap: int, in_use: int, waiting: int) -> None:
    """Tell what the account looks like to this worker; a `cap` of 0: it is not bounded."""
    LIMITER_CAP.labels(limiter=limiter.value).set(cap)
    LIMITER_IN_USE.labels(limiter=limiter.value).set(in_use)
    LIMITER_WAITING.labels(limiter=limiter.value).set(waiting)


def limiter_waited(limiter: LimiterName, priority: SlotPriority, seconds: float) -> None:
    """Tell how long a caller waited for a slot, whether it got one or not."""
    _LIMITER_WAITS[limiter, priority].observe(seconds)


def limiter_timed_out(limiter: LimiterName) -> None:
    """Count a caller that got no slot in time."""
    LIMITER_TIMEOUTS.labels(limiter=limiter.value).inc()


# --- Repetitions


def retries_were(operation: Operation, outcome: RetryOutcome, count: int) -> None:
    """Count wishes to repeat a request since this was last told."""
    RETRIES.labels(operation=operation.value, outcome=outcome.value).inc(count)


def retry_budget_is(tokens: int) -> None:
    """Tell how many requests this worker may repeat now."""
    RETRY_BUDGET.set(tokens)


def hedge_ended(outcome: HedgeOutcome) -> None:
    """Count speech that was asked for twice."""
    HEDGES.labels(outcome=outcome.value).inc()


def _start_every_series() -> None:
    """A series that appears only with its first event hides that event from `increase()`."""
    quota_is(used=0, limit=0)
    for pool in PoolName:
        pool_is(pool, idle=0, lent=0, opening=0, waiting=0, limit=0)
        for event in PoolEvent:
            pool_did(pool, event, 0)
    for limiter in LimiterName:
        limiter_is(limiter, cap=0, in_use=0, waiting=0)
        LIMITER_TIMEOUTS.labels(limiter=limiter.value)
    for operation in Operation:
        for retry in RetryOutcome:
            retries_were(operation, retry, 0)
    for hedge in HedgeOutcome:
        HEDGES.labels(outcome=hedge.value)


_start_every_series()
