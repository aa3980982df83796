"""Redis or Valkey: does it answer, may we do what we do, and does it keep what it is given.

The key decision: whether our user may call a command is tried out, on keys of our own that expire in a minute. Asking
(ACL DRYRUN) is a right that the service's user does not have, and should not.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.checks.finding import Finding, clock_finding, failed, ok, warning
from service.quick_redis import quick_redis
from service.redis_keys import CACHE

WHAT = "redis"
SECONDS = 3.0
TOLERATED_CLOCK_SECONDS = 5.0
OLDEST, OLDEST_GOOD = (6, 2), (7, 2)
_USER = "docs/configuration.md says which rights our user needs; deploy/valkey has them as a file"
_SCRIPT = "return 1"
_KEPT_SECONDS = 60


def check_redis(url: str) -> Iterator[Finding]:
    """Try everything; see the module. Raises SettingsError, as the service does, if the URL is none."""
    quick_redis(url).close()
    store = redis.Redis.from_url(
        url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS, retry=Retry(NoBackoff(), 0)
    )
    try:
        store.ping()
        yield from _rights(store)
        yield from _server(store)
        yield from _clock(store)
    except redis.RedisError as exc:
        yield _fault(exc)
    finally:
        store.close()


def _fault(exc: redis.RedisError) -> Finding:
    """By its class: the library's words may quote the address, and that the password."""
    if isinstance(exc, redis.AuthenticationError | redis.exceptions.AuthenticationWrongNumberOfArgsError):
        return failed(WHAT, "it refuses our user or password", "see the user and password in VOCERO_REDIS_URL")
    if isinstance(exc, redis.exceptions.NoPermissionError):
        return failed(WHAT, "our user may not even PING", _USER)
    if isinstance(exc, redis.TimeoutError):
        return failed(WHAT, f"no answer within {SECONDS:g} s", "see VOCERO_REDIS_URL, and whether the server hangs")
    if isinstance(exc, redis.exceptions.BusyLoadingError):
        return failed(WHAT, "it is loading its data", "wait: python -m service check --wait 60")
    if isinstance(exc, redis.ConnectionError):
        return failed(WHAT, "it cannot be reached", "see VOCERO_REDIS_URL, and whether the server runs")
    if "NOAUTH" in str(exc):
        return failed(WHAT, "it wants a password", "put user and password into VOCERO_REDIS_URL")
    return failed(WHAT, f"it refuses us ({type(exc).__name__})", "see VOCERO_REDIS_URL")


def _rights(store: redis.Redis) -> Iterator[Finding]:
    key = f"{CACHE.prefix}check:{uuid.uuid4().hex}"
    answers = _try(store, trials(key))
    denied = [name for name, answer in answers.items() if isinstance(answer, redis.exceptions.NoPermissionError)]
    if denied:
        yield failed(WHAT, f"our user may not: {', '.join(denied)}", _USER)
    for name in ("SET", "HSET", "XADD"):
        answer = answers[name]
        if isinstance(answer, redis.exceptions.ReadOnlyError):
            yield failed(WHAT, "it is a replica, which takes no writes", "set VOCERO_REDIS_URL to the primary")
            return
        if isinstance(answer, redis.exceptions.OutOfMemoryError) or "OOM" in str(answer):
            yield failed(WHAT, "it is full (maxmemory)", "give it more memory")
            return
        if isinstance(answer, redis.RedisError) and name not in denied:
            yield failed(WHAT, f"{name} fails ({type(answer).__name__})", "see the server's log")
            return


def trials(key: str) -> list[tuple[str | int, ...]]:
    """A harmless call of each command that the service and the dashboard use; a test holds the list to the code."""
    text, fields, ranked, stream, group = f"{key}:text", f"{key}:hash", f"{key}:zset", f"{key}:stream", "check"
    # What may only be called by a name that is known: the digest of a script.
    digest = hashlib.sha1(_SCRIPT.encode()).hexdigest()  # noqa: S324 (Redis' own name for a script)
    return [
        ("PING",), ("TIME",), ("SCAN", 0, "MATCH", f"{key}:*", "COUNT", 1),
        ("SET", text, 1, "EX", _KEPT_SECONDS), ("GET", text), ("INCRBY", text, 1), ("MGET", text), ("EXISTS", text),
        ("EXPIRE", text, _KEPT_SECONDS), ("PEXPIRE", text, _KEPT_SECONDS * 1000), ("PTTL", text), ("GETDEL", text),
        ("HSET", fields, "a", 1), ("EXPIRE", fields, _KEPT_SECONDS), ("HGET", fields, "a"), ("HMGET", fields, "a"),
        ("HGETALL", fields), ("HINCRBY", fields, "a", 1), ("HINCRBYFLOAT", fields, "a", 1), ("HDEL", fields, "b"),
        ("ZADD", ranked, 1, "a"), ("EXPIRE", ranked, _KEPT_SECONDS), ("ZCARD", ranked), ("ZCOUNT", ranked, 0, 1),
        ("ZRANGE", ranked, 0, 1), ("ZRANGEBYSCORE", ranked, 0, 1), ("ZRANK", ranked, "a"), ("ZSCORE", ranked, "a"),
        ("ZREVRANGE", ranked, 0, 1), ("ZREM", ranked, "b"), ("ZREMRANGEBYSCORE", ranked, 5, 6),
        ("ZREMRANGEBYRANK", ranked, 5, 6),
        ("XADD", stream, "*", "a", 1), ("EXPIRE", stream, _KEPT_SECONDS), ("XLEN", stream),
        ("XRANGE", stream, "-", "+"), ("XREVRANGE", stream, "+", "-"), ("XTRIM", stream, "MAXLEN", 5),
        ("XGROUP CREATE", stream, group, "0"), ("XINFO GROUPS", stream),
        ("XREADGROUP", "GROUP", group, "check", "COUNT", 1, "STREAMS", stream, ">"),
        ("XPENDING", stream, group), ("XAUTOCLAIM", stream, group, "check", 0, "0"), ("XACK", stream, group, "0-1"),
        ("EVAL", _SCRIPT, 0), ("SCRIPT LOAD", _SCRIPT), ("EVALSHA", digest, 0),
        ("UNLINK", text, fields), ("DEL", ranked, stream), ("MULTI",), ("EXEC",),
    ]  # fmt: skip


def _try(store: redis.Redis, calls: list[tuple[str | int, ...]]) -> dict[str, Any]:
    pipeline = store.pipeline(transaction=False)
    for call in calls:
        pipeline.execute_command(*call)  # type: ignore[no-untyped-call]
    answers = pipeline.execute(raise_on_error=False)
    found: dict[str, Any] = {}
    for call, answer in zip(calls, answers, strict=True):
        found.setdefault(str(call[0]), answer)
    return found


def _server(store: redis.Redis) -> Iterator[Finding]:
    try:
        info: dict[str, Any] = store.info()
    except redis.exceptions.NoPermissionError:
        yield warning(WHAT, "it answers; what it keeps cannot be seen, because our user may not INFO", _USER)
        return
    is_valkey = "valkey_version" in info
    version = str(info.get("valkey_version") or info.get("redis_version") or "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    name = f"{'Valkey' if is_valkey else 'Redis'} {version}"
    if numbers < OLDEST:
        yield failed(WHAT, f"{name} is too old", "Redis 7.2 or Valkey 8, or later")
    elif numbers < OLDEST_GOOD:
        yield warning(WHAT, f"{name} is older than what is tested", "Redis 7.2 or Valkey 8, or later")
    else:
        yield ok(WHAT, f"{name} at which our user may do all that it needs")
    if not info.get("aof_enabled"):
        yield warning(WHAT, "it forgets conversations that go on when it ends (no append-only file)", "appendonly yes")
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy != "noeviction":
        yield warning(
            WHAT,
            f"a full one throws away what is still needed (maxmemory-policy {policy})",
            "maxmemory-policy noeviction",
        )


def _clock(store: redis.Redis) -> Iterator[Finding]:
    before = time.time()
    seconds, microseconds = store.time()
    now = (before + time.time()) / 2
    off = seconds + microseconds / 1_000_000 - now
    if abs(off) > TOLERATED_CLOCK_SECONDS:
        yield clock_finding(WHAT, off)
