"""What a key's limits mean for a request: refused, or let in and counted until it is over.

The key decision: what has no limit costs nothing here. A key's scopes are in memory with the key, and Redis is asked
only about a key that has a bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from service import metrics_platform
from service.errors import NotAllowedError
from service.key_limits.key_characters import Charge, KeyCharacters
from service.key_limits.key_leases import KeyBound, KeyLease, KeyLeases
from service.metrics_platform import KeyRefusal
from service.storage import ApiKey, ApiScope


def require_scope(key: ApiKey, scope: ApiScope) -> None:
    """Raises NotAllowedError unless the key is for that."""
    if scope not in key.limits.scopes:
        metrics_platform.key_refused(KeyRefusal.SCOPE)
        raise NotAllowedError(f"The API key lacks the scope {scope.value}.", code="missing_permissions")


class KeyLimits:
    """Holds keys to their bounds, over all workers of all nodes. `start` and `close` are those of its leases."""

    def __init__(self, store: redis.Redis) -> None:
        self._leases = KeyLeases(store)
        self._characters = KeyCharacters(store)

    def start(self) -> None:
        """Renew the leases of this process from now on."""
        self._leases.start()

    def close(self) -> None:
        """Renew them no more."""
        self._leases.close()

    @contextmanager
    def place(self, bound: KeyBound | None, *, goes_on: bool = False) -> Iterator[None]:
        """Hold one of the key's places for as long as a conversation lasts; None: nothing is counted.

        With `goes_on` it has one already, at a worker that has left it or died: it is counted here from now on, and
        never refused.

        Raises:
            KeyBusyError: it has none free.
        """
        if bound is None:
            yield
            return
        lease = self._leases.enter(bound.key_id) if goes_on else self._leases.take(bound)
        try:
            yield
        finally:
            self._leases.give_back(lease)

    def begin_speech(self, key: ApiKey, characters: int) -> KeyUse | None:
        """Let a speech request of the key in; None: there is nothing to end, as the key has no limit.

        Raises:
            KeyBusyError: the key has no place free.
            KeyQuotaError: the text is more than what is left of the day's characters.
        """
        bound, limit = bound_of(key), key.limits.characters_per_day
        if bound is None and limit is None:
            return None
        use = KeyUse(self._leases, self._characters, lease=None if bound is None else self._leases.take(bound))
        if limit is not None and characters:
            try:
                use.charge = self._characters.take(key.id, characters, limit=limit)
            except BaseException:  # refused, or ended while it waited: the place is somebody else's again
                use.end()
                raise
        return use

    def spend(self, key: ApiKey, characters: int) -> None:
        """Count more characters of a request that was let in, and is told its text bit by bit.

        Raises:
            KeyQuotaError: they are more than what is left of the day's.
        """
        limit = key.limits.characters_per_day
        if limit is not None and characters:
            self._characters.take(key.id, characters, limit=limit)


class KeyUse:
    """What a speech request has of its key's limits."""

    def __init__(self, leases: KeyLeases, characters: KeyCharacters, *, lease: KeyLease | None) -> None:
        self._leases = leases
        self._characters = characters
        self._lease = lease
        self.charge: Charge | None = None

    def end(self) -> None:
        """The request is over. May be called again."""
        if self._lease is not None:
            self._leases.give_back(self._lease)

    def undo(self) -> None:
        """The request came to nothing: its characters do not count."""
        self.end()
        charge, self.charge = self.charge, None
        if charge is not None:
            self._characters.give_back(charge)


def bound_of(key: ApiKey) -> KeyBound | None:
    """The bound of the key's conversations and speech requests; None: it has none."""
    most = key.limits.max_concurrent
    return None if most is None else KeyBound(key.id, most)
