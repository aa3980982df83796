"""Guessing passwords is slowed down, by account and by network, and never stopped for good.

The key decision: a try counts as failed before it is looked at, in one step in Redis and by Redis' clock; a password
that turns out right takes that back. Whoever must wait is told how long, a right password or not: so a try during the
delay tells nothing. Nobody is locked out by strangers who keep an account waiting: from a network in which the account
has signed in lately, its tries are counted apart from those of everywhere else.
"""

from __future__ import annotations

import hashlib
import unicodedata
from importlib import resources
from typing import cast

import redis

from dashboard.access.client_address import network_of
from dashboard.words.said import Said
from service import redis_keys
from service.errors import TooManyRequestsError

FREE_FOR_ACCOUNT = 3
FREE_FOR_NETWORK = 10
"""Failures before the first delay. A whole office may have one address."""

LONGEST_DELAY_SECONDS = 60
REMEMBERED_SECONDS = 900
KNOWN_SECONDS = 30 * 86_400
"""How long a network counts as one of the account's own after a sign-in."""

NOTED_EVERY_SECONDS = 60
MOST_NOTES = 30
"""Audit entries about failures that a window of `NOTED_EVERY_SECONDS` gets, whatever names are tried from wherever."""

_SCRIPT = resources.files("dashboard.access").joinpath("throttle.lua").read_text()


class LoginThrottle:
    """Counts failures. Every method raises RedisError when Redis does not answer."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store
        self._script = store.register_script(_SCRIPT)

    def take(self, name: str, address: str) -> None:
        """Take a try to sign in as `name` from `address`; until `succeeded` it counts as failed.

        Raises:
            TooManyRequestsError: not yet.
        """
        wait = self._run(name, address)
        if wait > 0:
            seconds = max(1, -(-wait // 1000))
            message = Said("errors.code.too_many_tries", seconds=seconds)
            raise TooManyRequestsError(message, retry_after=seconds, code="too_many_tries")

    def refused(self, name: str, address: str) -> None:
        """A try that was taken has failed: the delay counts from now on, when it is told."""
        self._run(name, address, "refused")

    def _run(self, name: str, address: str, outcome: str = "") -> int:
        keys = [self._account_key(name, address), _network_key(address)]
        bounds = [FREE_FOR_ACCOUNT, FREE_FOR_NETWORK, LONGEST_DELAY_SECONDS, REMEMBERED_SECONDS]
        return cast("int", self._script(keys=keys, args=[*bounds, outcome]))

    def succeeded(self, name: str, address: str) -> int:
        """Take the count back; the result is how many tries of the account had failed before."""
        account = self._account_key(name, address)
        with self._store.pipeline(transaction=True) as pipeline:
            pipeline.hget(account, "failures")
            pipeline.delete(account)
            pipeline.set(_known_key(name, address), b"1", ex=KNOWN_SECONDS)
            pipeline.hincrby(_network_key(address), "failures", -1)
            pipeline.hdel(_network_key(address), "again_at")
            pipeline.expire(_network_key(address), REMEMBERED_SECONDS)
            failures = cast("list[bytes | None]", pipeline.execute())[0]
        return max(0, int(failures or 1) - 1)

    def _account_key(self, name: str, address: str) -> str:
        """What the account's failures are counted in: from one of its own networks, or from everywhere else."""
        account = f"{_PREFIX}account:{_digest(_comparable(name))}"
        is_known = self._store.exists(_known_key(name, address))
        return f"{account}:{_digest(network_of(address))}" if is_known else account

    def worth_noting(self, name: str, address: str) -> int | None:
        """How many failures there were since the last one that was noted, this one included; None: note it later.

        Once a minute for an account, once a minute for a network: a flood leaves a trace, and no flood of entries.
        """
        account, network = _digest(_comparable(name)), _digest(network_of(address))
        counted, noted = (
            f"{_PREFIX}unnoted:{account}:{network}",
            [f"{_PREFIX}noted:{each}" for each in (account, network)],
        )
        with self._store.pipeline(transaction=True) as pipeline:
            pipeline.incr(counted)
            pipeline.expire(counted, REMEMBERED_SECONDS)
            pipeline.set(_NOTES_KEY, 0, ex=NOTED_EVERY_SECONDS, nx=True)
            pipeline.exists(*noted)
            is_noted = pipeline.execute()[-1]
        if is_noted or self._store.incr(_NOTES_KEY) > MOST_NOTES:
            return None
        with self._store.pipeline(transaction=True) as pipeline:
            for key in noted:
                pipeline.set(key, b"1", ex=NOTED_EVERY_SECONDS)
            pipeline.expire(_NOTES_KEY, NOTED_EVERY_SECONDS, nx=True)
            pipeline.getdel(counted)
            failures = cast("bytes | None", pipeline.execute()[-1])
        return int(failures or 1)


_PREFIX = redis_keys.SIGN_IN.prefix
_NOTES_KEY = f"{_PREFIX}notes"


def _known_key(name: str, address: str) -> str:
    return f"{_PREFIX}known:{_digest(_comparable(name))}:{_digest(network_of(address))}"


def _network_key(address: str) -> str:
    return f"{_PREFIX}network:{_digest(network_of(address))}"


def _comparable(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
