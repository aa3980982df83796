"""A breaker among those of the other workers: what they found counts as advice, and one of them probes at a time.

The key decision: Redis only spreads what was found. Each worker decides by its own breaker and at once; a worker that
cannot reach Redis probes by itself and comes back by itself. All that waits runs in the threads of `upkeep.py`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import redis
import structlog

from service import metrics_fallback
from service.deadline import deadline
from service.elevenlabs.fault_actions import FaultDomain, fault_of
from service.errors import UpstreamError, VoceroError
from service.fallback.breaker import Breaker
from service.fallback.breaker_report import BreakerNotes, words_of
from service.fallback.breaker_terms import Opening
from service.fallback.shared_opening import Shared, SharedOpening
from service.metrics_fallback import ProbeResult
from service.storage import Capability

log = structlog.get_logger(__name__)

LEASE_MARGIN_SECONDS = 5.0
"""That the lease lasts longer than a probe may take."""

SPREAD_SECONDS = 1.0
"""Over which the workers' first probes are spread, so that not all ask for the lease at once."""

Canary = Callable[[str, Capability], object]
"""Asks a provider for a little of a capability, and raises if that does not go well: `canary("elevenlabs", SPEECH)`.

It runs within a `service.deadline`, which bounds whatever it calls.
"""


class SharedBreaker:
    """The breaker of one provider and one capability in this worker, and its share in what all workers know."""

    def __init__(
        self,
        breaker: Breaker,
        *,
        provider: str,
        capability: Capability,
        store: redis.Redis,
        canary: Canary,
        spread_seconds: float | None = None,
    ) -> None:
        self.breaker = breaker
        self.provider = provider
        self.capability = capability
        self.notes = BreakerNotes()
        self._shared = SharedOpening(store, f"{provider}:{capability.value}")
        self._canary = canary
        self._spread_seconds = random.uniform(0, SPREAD_SECONDS) if spread_seconds is None else spread_seconds  # noqa: S311 (no secret)
        self._stamped_id: str | None = None
        self._lock = threading.Lock()
        self._probe: threading.Thread | None = None

    def exchange(self) -> None:
        """Tell the others what we found, and hear what they did. Raises RedisError."""
        breaker = self.breaker
        mine, left_id, now = breaker.opening, breaker.left_id, breaker.now()
        shared = self._shared.read(now)
        if mine is not None:
            if shared is None or shared.opening.id != mine.id:
                shared = self._shared.open(mine, now, left_id=left_id)
            if shared is not None:
                breaker.agree(self._later(shared.opening))
        elif shared is not None:
            self._consider(shared, left_id)

    def _consider(self, shared: Shared, left_id: str | None) -> None:
        """We are not open, but Redis knows of an opening."""
        if shared.opening.id == left_id:
            if shared.ramp_at is None and self._stamped_id != left_id:
                self._shared.returned(shared.opening.id)
                self._stamped_id = left_id
        elif shared.ramp_at is not None:
            self.breaker.join_ramp(shared.ramp_at)
        elif self.breaker.take_advice(self._later(shared.opening)):
            log.warning(
                "a provider is left alone, as other workers do",
                provider=self.provider, capability=self.capability.value, opening=shared.opening.id,
            )  # fmt: skip

    def _later(self, opening: Opening) -> Opening:
        return replace(opening, probe_at=opening.probe_at + self._spread_seconds)

    # --- Probing

    def probe_if_due(self) -> None:
        """Begin a probe in a thread of its own, if it is time and no other worker makes one."""
        due = self.breaker.due
        if due is None:
            return
        with self._lock:
            if self._probe is not None and self._probe.is_alive():
                return
            self._probe = threading.Thread(target=self._make_probe, args=(due,), name="canary", daemon=True)
            self._probe.start()

    def join(self, timeout: float) -> None:
        """Wait for a probe that is under way."""
        with self._lock:
            probe = self._probe
        if probe is not None:
            probe.join(timeout)

    def _make_probe(self, opening: Opening) -> None:
        seconds = self.breaker.terms.probe_seconds
        try:
            token = self._shared.take_lease(opening.id, seconds + LEASE_MARGIN_SECONDS)
        except redis.RedisError:
            token = ""  # nobody can be asked: we are alone, and probe for ourselves
        if token is None:
            return
        try:
            self._tell(opening, self._try_canary(seconds))
        finally:
            if token:
                with suppress(redis.RedisError):  # then it ends by itself
                    self._shared.give_back(token)

    def _try_canary(self, seconds: float) -> ProbeResult:
        begun = self.breaker.now()
        try:
            with deadline(seconds):
                self._canary(self.provider, self.capability)
        except Exception as exc:  # noqa: BLE001 (a health probe: whatever goes wrong, it is not healthy)
            result = _result_of(exc)
            self.notes.note_probe(f"{result.value}: {words_of(fault_of(exc))}")
            log.info(
                "a probe failed",
                provider=self.provider, capability=self.capability.value, error=type(exc).__name__, taken=result.value,
            )  # fmt: skip
            return result
        taken = self.breaker.now() - begun
        result = ProbeResult.GOOD if taken <= seconds else ProbeResult.BAD
        self.notes.note_probe(f"{result.value}: {taken:.2f} s")
        return result

    def _tell(self, opening: Opening, result: ProbeResult) -> None:
        """Ourselves first: local evidence needs nobody."""
        metrics_fallback.breaker_probed(self.provider, self.capability, result)
        next_seconds = self.breaker.probed(opening.id, result)
        with suppress(redis.RedisError):  # the others find out for themselves
            self._shared.probed(opening.id, result, next_seconds=next_seconds)


def _result_of(exc: Exception) -> ProbeResult:
    """What a failed probe says: a provider that refuses it for a good reason is alive.

    Else a voice that no longer exists would keep everybody on the backup for ever.
    """
    if not isinstance(exc, VoceroError):
        return ProbeResult.BAD
    fault = fault_of(exc)
    if fault.domain in {FaultDomain.CALLER, FaultDomain.POLICY} and isinstance(exc, UpstreamError):
        return ProbeResult.GOOD
    return ProbeResult.BAD if fault.is_evidence else ProbeResult.UNCLEAR
