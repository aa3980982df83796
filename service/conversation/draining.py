"""Leaving a worker: every client is told when to come back, the turn under way may end, and then the worker is gone.

The key decision: the waiting is the clients', not ours. Each is sent away as soon as its turn has ended and told after
how many seconds to knock again, spread evenly, so that the workers that stay are not all asked in one moment. How long
the worker takes is bounded by one turn, whatever its clients do.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from service import metrics
from service.conversation.endings import RESTARTS

log = structlog.get_logger(__name__)

SERVICE_RESTART = 1012
NOTICE_SECONDS = 1.0
"""Until a conversation has acted on the end of its turn, or of its time (`Settings.graceful_seconds` allows for it)."""

_LOOK_SECONDS = 0.1


class DrainableConversation(Protocol):
    """A conversation as a worker that leaves sees it."""

    def drain(self, reconnect_in_seconds: float) -> None:
        """End with code 1012 between two turns, and tell the client to come back after so many seconds; returns at
        once, or when it has ended."""

    def end(self, code: int, reason: str) -> None:
        """End now."""


@dataclass(frozen=True)
class DrainTimes:
    """`turn_seconds` that a turn may still take; `spread_seconds` over which clients come back."""

    turn_seconds: float = 20.0
    spread_seconds: float = 10.0


def reconnect_hints(count: int, spread_seconds: float) -> list[float]:
    """Seconds after which each of so many clients comes back: one in each of `count` equal parts, at random within."""
    part = spread_seconds / max(1, count)
    hints = [round((place + random.random()) * part, 2) for place in range(count)]  # noqa: S311 (no secret)
    random.shuffle(hints)
    return hints


def drain_all(
    leaving: Sequence[DrainableConversation],
    remaining: Callable[[], Collection[DrainableConversation]],
    times: DrainTimes,
) -> None:
    """Send the clients of `leaving` away; returns when none is `remaining`, or is told for the second time."""
    began = time.monotonic()
    metrics.worker_drains()
    for conversation, hint in zip(leaving, reconnect_hints(len(leaving), times.spread_seconds), strict=True):
        _in_thread(conversation.drain, hint)
    latest = began + times.turn_seconds + NOTICE_SECONDS
    pause = threading.Event()
    while (left := remaining()) and time.monotonic() < latest:
        pause.wait(_LOOK_SECONDS)
    for conversation in left:
        _in_thread(conversation.end, SERVICE_RESTART, RESTARTS)
    metrics.conversations_were_drained(max(0, len(leaving) - len(left)), in_time=True)
    metrics.conversations_were_drained(len(left), in_time=False)
    log.info(
        "conversations were sent away", count=len(leaving), late=len(left), seconds=round(time.monotonic() - began, 1)
    )


def _in_thread(call: Callable[..., None], *arguments: object) -> None:
    # Each has its own: one client that does not read must not keep the others waiting.
    threading.Thread(target=call, args=arguments, daemon=True).start()
