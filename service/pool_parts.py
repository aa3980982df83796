"""What a connection pool is made of: its bounds, a connection with its age, a caller that waits. No decisions."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C")

SHORTEST_REST_SECONDS = 1.0
"""What is kept ready for less would be opened and closed without a pause."""


@dataclass(frozen=True, kw_only=True)
class PoolLimits:
    """The bounds of a pool; ages are seconds.

    Raises:
        ValueError: one of them makes no sense.
    """

    min_idle: int
    max_size: int
    max_waiting: int
    max_idle: float
    max_lifetime: float

    def __post_init__(self) -> None:
        if self.max_size < 1:
            raise ValueError(f"max_size is at least 1, not {self.max_size}")
        if not 0 <= self.min_idle <= self.max_size:
            raise ValueError(f"min_idle is 0 to max_size ({self.max_size}), not {self.min_idle}")
        if self.max_waiting < 0:
            raise ValueError(f"max_waiting is at least 0, not {self.max_waiting}")
        for name in ("max_idle", "max_lifetime"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is more than 0 s, not {getattr(self, name):g}")
            if self.min_idle and getattr(self, name) < SHORTEST_REST_SECONDS:
                raise ValueError(
                    f"{name} is at least {SHORTEST_REST_SECONDS:g} s where min_idle is not 0,"
                    f" not {getattr(self, name):g}"
                )


class Pooled(Generic[C]):
    """A connection, and what the pool knows of it."""

    __slots__ = ("connection", "generation", "idle_seconds", "is_unchecked", "rests_since", "retires_at", "uses")

    def __init__(self, connection: C, *, generation: int, retires_at: float, idle_seconds: float) -> None:
        self.connection = connection
        self.generation = generation
        self.retires_at = retires_at
        self.idle_seconds = idle_seconds  # it may rest
        self.rests_since = 0.0
        self.uses = 0
        self.is_unchecked = False  # a new one is good until it has rested

    def is_aged(self, now: float) -> bool:
        """Whether an idle connection is to be closed."""
        return now >= self.retires_at or now - self.rests_since >= self.idle_seconds


class Waiter(Generic[C]):
    """A caller that has asked. `wakes` is set when there is something for it; only who queues has one."""

    __slots__ = ("asked_at", "error", "has_ended", "is_checking", "pooled", "ticket", "wakes")

    def __init__(self, ticket: int, asked_at: float) -> None:
        self.ticket = ticket
        self.asked_at = asked_at
        self.wakes: threading.Event | None = None  # making one costs more than all else of a checkout
        self.pooled: Pooled[C] | None = None
        self.error: Exception | None = None
        self.is_checking = False
        self.has_ended = False

    def has_nothing(self) -> bool:
        """Whether it has neither a connection nor an error."""
        return self.pooled is None and self.error is None

    def lie_down(self) -> None:
        """It queues now."""
        self.wakes = threading.Event()

    def wait(self, seconds: float) -> None:
        """Wait until there is something, for `seconds` at most; not at all if it does not queue."""
        if self.wakes is not None:
            self.wakes.wait(seconds)

    def wake(self) -> None:
        """There is something for it."""
        if self.wakes is not None:
            self.wakes.set()
