"""Sign-ins that have been begun and whose people are with the provider now.

The key decision: an attempt is found only with both what the provider sends back (the state) and what the browser was
given (a cookie), because its key is made of both; and finding it takes it away. So nobody can have another browser
finish it, nobody finishes it twice, and who knows the state alone cannot even spoil it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass
from typing import cast

import orjson
import redis

from dashboard.access.client_address import network_of
from dashboard.access.oidc.errors import ProviderSignInError, Reason
from service import redis_keys

KEPT_SECONDS = 600
WINDOW_SECONDS = 60
MOST_OF_A_NETWORK, MOST_OF_ALL = 60, 1200
"""Attempts in a window; each lies in Redis for ten minutes, and nobody has shown anything yet who begins one."""

LONGEST_STATE = 64
_BYTES = 32
_PREFIX = f"{redis_keys.SIGN_IN.prefix}provider:"


@dataclass(frozen=True)
class Attempt:
    """A sign-in on its way; `began_at` is by Redis' clock.

    `confirms`: the session of somebody who is signed in and only shows their password again; `user_id` is theirs.
    """

    nonce: str
    verifier: str
    redirect_uri: str
    next: str
    began_at: float
    confirms: str | None = None
    user_id: str | None = None


class Attempts:
    """Keeps them for ten minutes. Every method raises RedisError when Redis does not answer."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store

    def begin(
        self,
        *,
        browser: str,
        address: str,
        redirect_uri: str,
        next_page: str,
        confirms: str | None = None,
        user_id: str | None = None,
    ) -> tuple[str, Attempt]:
        """A new one of the browser with this secret; the first value is its state.

        Raises:
            ProviderSignInError: too many were begun just now (TOO_MANY).
        """
        self._count(address)
        state = secrets.token_urlsafe(_BYTES)
        attempt = Attempt(
            nonce=secrets.token_urlsafe(_BYTES),
            verifier=secrets.token_urlsafe(_BYTES),
            redirect_uri=redirect_uri,
            next=next_page,
            began_at=self.now(),
            confirms=confirms,
            user_id=user_id,
        )
        self._store.set(_key(state, browser), orjson.dumps(asdict(attempt)), ex=KEPT_SECONDS)
        return state, attempt

    def take(self, state: str, *, browser: str) -> Attempt:
        """The attempt of this state and this browser; it is gone then.

        Raises:
            ProviderSignInError: there is none (STALE).
        """
        if not 0 < len(state) <= LONGEST_STATE or not 0 < len(browser) <= LONGEST_STATE:
            raise ProviderSignInError(Reason.STALE)
        value = cast("bytes | None", self._store.getdel(_key(state, browser)))
        if value is None:
            raise ProviderSignInError(Reason.STALE)
        return Attempt(**orjson.loads(value))

    def now(self) -> float:
        """Redis' clock, which all our processes share."""
        seconds, microseconds = self._store.time()
        return seconds + microseconds / 1_000_000

    def _count(self, address: str) -> None:
        network = hashlib.sha256(network_of(address).encode()).hexdigest()[:32]
        counters = {f"{_PREFIX}begun:{network}": MOST_OF_A_NETWORK, f"{_PREFIX}begun": MOST_OF_ALL}
        with self._store.pipeline(transaction=True) as pipeline:
            for key in counters:
                pipeline.incr(key)
                pipeline.expire(key, WINDOW_SECONDS, nx=True)
            counted = pipeline.execute()[::2]
        if any(count > most for count, most in zip(counted, counters.values(), strict=True)):
            raise ProviderSignInError(Reason.TOO_MANY)


def _key(state: str, browser: str) -> str:
    both = hashlib.sha256(f"{state} {browser}".encode("utf-8", "replace")).hexdigest()
    return f"{_PREFIX}attempt:{both}"
