"""The thread that keeps what decides in step with the other workers, so that no conversation ever waits for them.

The key decision: one thread does all that may be slow, several times a second. When Redis hangs, this thread hangs, a
quarter of a second at a time, and nobody else notices.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Sequence

import redis
import structlog

from service.fallback.overrides import OverrideBoard
from service.fallback.shared_breaker import SharedBreaker
from service.fallback.speaking_agents import SpeakingAgents

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 0.4
JITTER = 0.1
STOP_SECONDS = 2.0


class Upkeep:
    """Looks after the overrides and the breakers of a worker, and whom others have heard, from `start` to `close`."""

    def __init__(self, board: OverrideBoard, breakers: Sequence[SharedBreaker], *, speaking: SpeakingAgents) -> None:
        self._board = board
        self._speaking = speaking
        self._breakers = breakers
        self._leaves = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_heard = True

    def start(self) -> None:
        """Look now, so that the first conversation is decided by what holds; then several times a second."""
        self._leaves.clear()
        self._look()
        self._thread = threading.Thread(target=self._look_on, name="fallback", daemon=True)
        self._thread.start()

    def close(self, timeout: float = STOP_SECONDS) -> None:
        """Stop; waits `timeout` s at most, for a probe too."""
        self._leaves.set()
        ends_at = time.monotonic() + timeout
        if self._thread is not None:
            self._thread.join(timeout)
        for breaker in self._breakers:
            breaker.join(max(0.0, ends_at - time.monotonic()))

    def _look_on(self) -> None:
        while not self._leaves.wait(INTERVAL_SECONDS * random.uniform(1 - JITTER, 1 + JITTER)):  # noqa: S311 (no secret)
            self._look()
            if not self._leaves.is_set():
                for breaker in self._breakers:
                    breaker.probe_if_due()

    def _look(self) -> None:
        try:
            is_heard = self._take_steps()
        except Exception as exc:  # noqa: BLE001 (the edge of a worker loop: without it no override would be heard)
            frames = traceback.extract_tb(exc.__traceback__)
            where = [f"{frame.filename}:{frame.lineno}" for frame in frames[-3:]]
            log.error("fallback upkeep failed", error=type(exc).__name__, where=where)  # noqa: TRY400 (its text may quote)
            return
        if is_heard is not self._is_heard:  # once, not several times in every second of an outage
            self._is_heard = is_heard
            if is_heard:
                log.info("overrides and breakers are shared again")
            else:
                log.warning("Redis does not answer: this worker decides alone about the fallback")

    def _take_steps(self) -> bool:
        """Returns whether Redis did all that it was asked for."""
        is_heard = True
        for step in (self._board.look, *(breaker.exchange for breaker in self._breakers), self._speaking.exchange):
            try:
                step()
            except (redis.ConnectionError, redis.TimeoutError):
                return False  # each further step would hang as long
            except redis.RedisError:  # it answers, if only that it is full, or a replica
                is_heard = False
        return is_heard
