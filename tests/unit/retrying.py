"""A clock that only sleeping moves, and retriers whose time it is."""

from __future__ import annotations

import random
from typing import Any

from service.retry import Retrier, RetryPolicy
from service.retry_budget import RetryBudget


class FakeTime:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def make_retrier(time: FakeTime, *, seed: int = 7, budget: RetryBudget | None = None, **policy: Any) -> Retrier:
    """With a budget that is never the reason, unless one is given."""
    return Retrier(
        RetryPolicy(**policy),
        budget=budget or RetryBudget(share=1.0, minimum=1_000_000, clock=time.clock),
        clock=time.clock,
        sleep=time.sleep,
        uniform=random.Random(seed).uniform,
    )
