"""Our token at Vault, from the login to its end: renewed in time, replaced when it cannot be.

The key decisions, which are those of Vault's own lifetime watcher (`api/lifetime_watcher.go`):

* a token is renewed at two thirds of its lease, 10 % sooner or later by chance, so that workers which started together
  do not come together;
* a renewal that brings less than half of the lease that the login brought says that the token nears its greatest age:
  the next one is got by logging in;
* a renewal or login that fails costs nothing while the old token is good: it is used until it ends.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from service.errors import SecretsSourceError
from service.secret import Secret
from service.vault.client import Grant, VaultClient
from service.vault.login import LogIn

log = structlog.get_logger(__name__)

RENEWAL_SHARE, RENEWAL_JITTER = 2 / 3, 0.1
FULL_SHARE = 0.5
AGAIN_SHARE = 1 / 4
"""Of what is left of a token, after which a renewal that failed is tried again."""

SHORTEST_WAIT_SECONDS = 0.2


@dataclass
class _Held:
    secret: Secret
    is_renewable: bool
    full_lease_seconds: float
    ends_at: float
    due_at: float


class TokenKeeper:
    """Keeps a token for `client`, got by `log_in`; one thread uses it.

    `note_failure` hears of what fails while the token of before still serves. `clock` and `uniform` are those of `time`
    (monotonic) and `random` unless given.
    """

    def __init__(
        self,
        client: VaultClient,
        log_in: LogIn,
        *,
        note_failure: Callable[[SecretsSourceError], None],
        clock: Callable[[], float] | None = None,
        uniform: Callable[[float, float], float] | None = None,
    ) -> None:
        self._client = client
        self._log_in = log_in
        self._note_failure = note_failure
        self._clock = clock or _monotonic
        self._uniform = uniform or random.uniform
        self._held: _Held | None = None

    @property
    def seconds_left(self) -> float:
        """Until the token ends; infinite if it does not, 0 if there is none."""
        held = self._held  # other threads ask too
        return 0.0 if held is None else max(0.0, held.ends_at - self._clock())

    @property
    def seconds_to_upkeep(self) -> float:
        """Until the token wants to be asked for, so that it is renewed in time; infinite if it never does."""
        return math.inf if self._held is None else max(0.0, self._held.due_at - self._clock())

    def token(self) -> Secret:
        """A token that is good now; renewed or newly got if that is due.

        Raises:
            SecretsSourceError: there is none to be had.
        """
        held, now = self._held, self._clock()
        if held is None or now >= held.ends_at:
            self._held = held = self._taken(self._log_in(self._client))
        elif now >= held.due_at:
            self._held = held = self._prolonged(held)
        return held.secret

    def drop(self) -> None:
        """The token is refused: log in the next time."""
        self._held = None

    def _prolonged(self, held: _Held) -> _Held:
        try:
            if held.is_renewable:
                grant = self._renewed(held)
                if grant is not None:
                    return grant
            return self._taken(self._log_in(self._client))
        except SecretsSourceError as exc:
            left = held.ends_at - self._clock()
            if left <= 0:
                raise
            self._note_failure(exc)
            held.due_at = self._clock() + max(SHORTEST_WAIT_SECONDS, left * AGAIN_SHARE * self._uniform(0.5, 1.0))
            return held

    def _renewed(self, held: _Held) -> _Held | None:
        """The token with its new lease; None if it cannot be renewed any more."""
        try:
            grant = self._client.renew(held.secret)
        except SecretsSourceError as exc:
            # "Past the max TTL" is a 500. If it is Vault that fails, logging in fails too, and that is noted.
            log.debug("vault token was not renewed", reason=str(exc))
            return None
        if grant.lease_seconds < held.full_lease_seconds * FULL_SHARE:  # 0 too: what ends does not become endless
            return None
        log.debug("vault token was renewed", lease_seconds=grant.lease_seconds)
        return self._taken(grant, full_lease_seconds=held.full_lease_seconds)

    def _taken(self, grant: Grant, *, full_lease_seconds: float | None = None) -> _Held:
        now, lease = self._clock(), grant.lease_seconds or math.inf
        if full_lease_seconds is None:
            log.info("logged in to vault", lease_seconds=grant.lease_seconds, renewable=grant.is_renewable)
        share = RENEWAL_SHARE * self._uniform(1 - RENEWAL_JITTER, 1 + RENEWAL_JITTER)
        return _Held(
            secret=grant.token,
            is_renewable=grant.is_renewable,
            full_lease_seconds=full_lease_seconds or lease,
            ends_at=now + lease,
            due_at=now + lease * share,
        )


def _monotonic() -> float:
    return time.monotonic()
