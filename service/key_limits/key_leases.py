"""The places of an API key: a lease for each of its conversations and speech requests, in one sorted set a key.

The key decision: a lease runs out by itself (`TTL_SECONDS`) unless its worker renews it, so that a worker that dies
keeps no place for long. One thread of each worker renews all of its leases with one pipeline, and asks nothing when
there are none. Renewing enters a lease again that Redis has lost: what runs, runs.

Without Redis each worker counts its own leases, and lets through up to the key's bound; what it has then is entered
when Redis is back, even if that is more than the bound over all workers, and nothing new is let in until there is room.
"""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from dataclasses import dataclass

import redis
import structlog

from service import metrics_platform, redis_keys
from service.errors import KeyBusyError
from service.metrics_platform import KeyRefusal

log = structlog.get_logger(__name__)

TTL_SECONDS = 30.0
RENEWALS_PER_TTL = 3
CLOSE_SECONDS = 2.0

# The scores are Unix milliseconds by Redis' clock at which a lease runs out. Sent twice, it grants once.
_ENTER = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
_RENEW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for number = 2, #ARGV do
  redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[number])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""


@dataclass(frozen=True)
class KeyBound:
    """A key that may have at most so many conversations and speech requests at the same time."""

    key_id: str
    max_concurrent: int


@dataclass(frozen=True)
class KeyLease:
    """One of a key's places."""

    key_id: str
    id: str


class KeyLeases:
    """Gives out the places of keys. `start` runs the thread that renews what is given out, `close` ends it."""

    def __init__(self, store: redis.Redis, *, ttl_seconds: float = TTL_SECONDS) -> None:
        self._store = store
        self._ttl_seconds = ttl_seconds
        self._ttl_milliseconds = round(ttl_seconds * 1000)
        self._enter = store.register_script(_ENTER)
        self._renew = store.register_script(_RENEW)
        self._lock = threading.Lock()
        self._live: set[KeyLease] = set()
        self._is_failing = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run the thread. Call it in the process that will hold the leases: threads do not survive a fork."""
        self._thread = threading.Thread(target=self._run, name="key-leases", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread. Leases still held are left to run out: their work may go on."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def take(self, bound: KeyBound) -> KeyLease:
        """A place, until it is given back.

        Raises:
            KeyBusyError: the key has none free.
        """
        lease = KeyLease(bound.key_id, secrets.token_hex(8))
        is_granted: bool | None = None
        try:
            arguments: list[str | int] = [lease.id, bound.max_concurrent, self._ttl_milliseconds]
            is_granted = bool(self._enter(keys=[_place(lease.key_id)], args=arguments))
            self._is_failing = False
        except redis.RedisError as exc:
            self._note_failure(exc)
        with self._lock:
            if is_granted is None:
                held_here = sum(held.key_id == lease.key_id for held in self._live)
                is_granted = held_here < bound.max_concurrent
            if is_granted:
                self._live.add(lease)
                return lease
        metrics_platform.key_refused(KeyRefusal.CONCURRENCY)
        raise KeyBusyError(bound.max_concurrent)

    def enter(self, key_id: str) -> KeyLease:
        """A place for what runs already, whether there is one free or not."""
        lease = KeyLease(key_id, secrets.token_hex(8))
        with self._lock:
            self._live.add(lease)
        try:
            self._renew(keys=[_place(key_id)], args=[self._ttl_milliseconds, lease.id])
        except redis.RedisError as exc:  # the thread enters it when Redis is back
            self._note_failure(exc)
        return lease

    def give_back(self, lease: KeyLease) -> None:
        """End a lease; a second time does nothing. Without Redis it runs out there."""
        with self._lock:
            if lease not in self._live:
                return
            self._live.remove(lease)
        try:
            self._store.zrem(_place(lease.key_id), lease.id)
        except redis.RedisError as exc:
            self._note_failure(exc)

    def renew(self) -> None:
        """Renew whatever is held, which the thread does three times before a lease would run out."""
        with self._lock:
            held = set(self._live)
        if not held:
            return
        by_key: dict[str, list[str]] = defaultdict(list)
        for lease in held:
            by_key[lease.key_id].append(lease.id)
        try:
            with self._store.pipeline(transaction=False) as pipeline:
                for key_id, ids in by_key.items():
                    self._renew(keys=[_place(key_id)], args=[self._ttl_milliseconds, *ids], client=pipeline)
                pipeline.execute()
            with self._lock:
                over = held - self._live
            for lease in over:  # given back meanwhile, and perhaps entered again after that
                self._store.zrem(_place(lease.key_id), lease.id)
            self._is_failing = False
        except redis.RedisError as exc:
            self._note_failure(exc)

    def _run(self) -> None:
        while not self._closing.wait(self._ttl_seconds / RENEWALS_PER_TTL):
            try:
                self.renew()
            except Exception:  # a thread that ends would lose every lease of the worker
                log.exception("places of API keys were not renewed")

    def _note_failure(self, exc: redis.RedisError) -> None:
        if not self._is_failing:
            self._is_failing = True
            log.warning("places of API keys are counted in this worker alone", error=type(exc).__name__)


def _place(key_id: str) -> str:
    return redis_keys.KEY_USE.prefix + key_id
