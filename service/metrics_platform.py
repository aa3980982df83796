"""The metrics of what the service stands on: event loops, Redis, the database, workers, readiness, maintenance.

The key decision: as in `metrics.py`, callers tell what happened and labels come from closed sets. They are read by
whoever is on call, to find the cause of what the conversations' metrics show. The histogram of HTTP requests is fed by
prometheus-flask-exporter (`service/web/http_metrics.py`), and its series appear with their first request: most pairs of
an endpoint and a status never do.
"""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import Counter, Gauge, Histogram

from service import metrics  # first of all: it decides where every metric of the process lies

FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Seconds, of what answers from the same network."""

REQUEST_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds, of a request."""

HTTP_DURATION = "vocero_http_request_duration_seconds"
HTTP_DURATION_HELP = (
    "Seconds until an HTTP request was answered (a stream: until it began), by endpoint, method and class of status."
    " Conversations have metrics of their own."
)


class RedisUse(StrEnum):
    """What a command to Redis is for."""

    LEDGER = "ledger"  # what happens in conversations, and what resumes them
    LIMITER = "limiter"  # the account's slots
    TICKETS = "tickets"
    OVERRIDES = "overrides"  # breakers, too
    OTHER = "other"


class Dependency(StrEnum):
    """What a worker needs to be ready."""

    REDIS = "redis"
    DATABASE = "database"
    SECRETS = "secrets"


class Method(StrEnum):
    """Of an HTTP request."""

    GET = "GET"  # HEAD, too
    OPTIONS = "OPTIONS"
    POST = "POST"
    OTHER = "other"  # whatever a client writes there


class StatusClass(StrEnum):
    """Of an HTTP answer."""

    INFORMED = "1xx"
    GOOD = "2xx"
    ELSEWHERE = "3xx"
    CALLER = "4xx"  # the caller's doing
    OURS = "5xx"
    OTHER = "other"


class OrderKind(StrEnum):
    """What an admin may ask of a worker."""

    POOL_RESIZE = "pool.resize"
    POOL_DRAIN = "pool.drain"
    POOL_REFILL = "pool.refill"
    CONVERSATION_END = "conversation.end"
    SECRETS_REFRESH = "secrets.refresh"
    CANARY = "canary"
    KEYS_FORGET = "keys.forget"


class OrderOutcome(StrEnum):
    """What came of an order at a worker."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"  # its arguments make no sense
    BUSY = "busy"
    LATE = "late"  # its time was over
    UNKNOWN = "unknown"  # a newer version's


class KeyRefusal(StrEnum):
    """Why a request with a valid API key was refused."""

    SCOPE = "scope"  # the key is not for that
    CONCURRENCY = "concurrency"  # all of its places are taken
    CHARACTERS = "characters"  # those of the day are used up


LOOP_STALL = Histogram(
    "vocero_event_loop_stall_seconds",
    "Seconds that a worker's event loop was late for a tick, of the ticks that were more than 10 ms late. While it is"
    " late, no conversation of the worker moves.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
LOOP_TICKS = Counter(
    "vocero_event_loop_ticks",
    "Ticks of the workers' event loops, in time or late; one is due every 50 ms.",
)
REDIS_SECONDS = Histogram(
    "vocero_redis_seconds",
    "Seconds that Redis took for a command or a pipeline, with its tries and whether it succeeded or not, by use.",
    ["use"],
    buckets=FAST_BUCKETS,
)
REDIS_ERRORS = Counter(
    "vocero_redis_errors",
    "Commands and pipelines that Redis did not answer, or answered with an error.",
)
DATABASE_SECONDS = Histogram(
    "vocero_database_seconds",
    "Seconds that the database took for a statement that succeeded.",
    buckets=FAST_BUCKETS,
)
DATABASE_ERRORS = Counter(
    "vocero_database_errors",
    "Statements, connections and waits for a connection that failed; a row that was there already is none.",
)
DEPENDENCY_UP = Gauge(
    "vocero_dependency_up",
    "1 if every worker finds this dependency well, 0 if one does not, as its readiness says.",
    ["dependency"],
    multiprocess_mode="livemin",
)
WORKER_STARTED = Gauge(
    "vocero_worker_started_timestamp_seconds",
    "Unix time at which the youngest worker started.",
    multiprocess_mode="livemax",
)
WORKER_STARTS = Counter(
    "vocero_worker_starts",
    "Workers that have started since the service did, the first ones too.",
)
WORKERS = Gauge(
    "vocero_workers",
    "Workers that live.",
    multiprocess_mode="livesum",
)
MAINTENANCE = Gauge(
    "vocero_maintenance",
    "1 while operators (a rollback, for instance) have closed the service, as a worker has seen it, else 0.",
    multiprocess_mode="livemax",
)
MAINTENANCE_STARTED = Gauge(
    "vocero_maintenance_started_timestamp_seconds",
    "Unix time at which the maintenance began that there is; 0: there is none.",
    multiprocess_mode="livemax",
)
HTTP_SECONDS = Histogram(
    HTTP_DURATION,
    HTTP_DURATION_HELP,
    ["endpoint", "method", "status"],
    buckets=REQUEST_BUCKETS,
)
ORDERS = Counter(
    "vocero_orders",
    "Orders of admins that a worker has answered, by what was asked and what came of it.",
    ["kind", "outcome"],
)
KEY_REFUSALS = Counter(
    "vocero_api_key_refusals",
    "Conversations and requests that the scopes or limits of a valid API key did not allow, by what was against them.",
    ["reason"],
)
METRICS_IN_MEMORY = Gauge(
    "vocero_metrics_without_room",
    "1 if there was no room for a worker's metrics, so that new ones are in its memory and not told, else 0.",
    multiprocess_mode="livemax",
)


def loop_ticked(count: int) -> None:
    """Count ticks of this worker's event loop."""
    LOOP_TICKS.inc(count)


def loop_stalled(seconds: float) -> None:
    """Tell how late a tick was."""
    LOOP_STALL.observe(seconds)


def redis_took(use: RedisUse, seconds: float) -> None:
    """Tell how long Redis took, with or without success."""
    _REDIS_SECONDS_OF[use].observe(seconds)


def redis_failed() -> None:
    """Count that Redis did not do what it was asked for."""
    REDIS_ERRORS.inc()


def database_took(seconds: float) -> None:
    """Tell how long the database took for a statement."""
    DATABASE_SECONDS.observe(seconds)


def database_failed() -> None:
    """Count that the database did not do what it was asked for."""
    DATABASE_ERRORS.inc()


def dependency_is(dependency: Dependency, *, up: bool) -> None:
    """Tell whether this worker finds it well."""
    DEPENDENCY_UP.labels(dependency=dependency.value).set(up)


def worker_started(at: float) -> None:
    """Tell that this worker has started, at this Unix time."""
    WORKER_STARTED.set(at)
    WORKER_STARTS.inc()
    WORKERS.set(1)


def order_answered(kind: str, outcome: OrderOutcome) -> None:
    """Count an order that this worker has answered; a `kind` that it does not know is counted as `other`."""
    known = kind if kind in _ORDER_KINDS else metrics.OTHER
    ORDERS.labels(kind=known, outcome=outcome.value).inc()


def key_refused(reason: KeyRefusal) -> None:
    """Count what a key's scopes or limits did not allow."""
    _KEY_REFUSALS_OF[reason].inc()


def maintenance_is(since: float | None) -> None:
    """Tell since when (Unix time) there is a maintenance; None: there is none."""
    MAINTENANCE.set(since is not None)
    MAINTENANCE_STARTED.set(since or 0.0)


def metrics_lack_room(*, lacking: bool) -> None:
    """Tell whether some of this worker's numbers are in its memory alone."""
    METRICS_IN_MEMORY.set(lacking)


def http_answered(endpoint: str, method: Method, status: StatusClass, seconds: float) -> None:
    """Tell how long it took until the answer to a request began. `endpoint` is from the application's closed set."""
    HTTP_SECONDS.labels(endpoint=endpoint, method=method.value, status=status.value).observe(seconds)


# Every series is there from the start but a dependency's: until it was looked at for the first time, nobody knows.
_REDIS_SECONDS_OF = {use: REDIS_SECONDS.labels(use=use.value) for use in RedisUse}
_KEY_REFUSALS_OF = {reason: KEY_REFUSALS.labels(reason=reason.value) for reason in KeyRefusal}
_ORDER_KINDS = frozenset(each.value for each in OrderKind)
for _kind in OrderKind:
    for _outcome in OrderOutcome:
        ORDERS.labels(kind=_kind.value, outcome=_outcome.value)
