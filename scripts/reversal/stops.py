"""Signals that ask us to stop, turned into an exception that comes at a moment which we choose.

The key decision: SIGTERM, SIGINT and SIGHUP raise where we are, so a wait or a statement is broken off at once and its
transaction rolled back; only what must not be torn (an entry of the journal, undoing) is shielded, and the exception
comes right behind it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from scripts.reversal.failures import StopRequestedError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stops:
    """Use as a context manager, in the main thread."""

    def __init__(self) -> None:
        self._shields = 0
        self._pending: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stops:
        self._before = {number: signal.signal(number, self._stop) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Let nothing interrupt the block; a signal that came meanwhile raises when it has ended well."""
        with self.deaf():
            yield
        if self._pending is not None and not self._shields:
            pending, self._pending = self._pending, None
            raise StopRequestedError(pending.name)

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Let nothing interrupt the block, and nothing come of it afterwards either until the next shield."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self._shields:
            self._pending = signal.Signals(number)
        else:
            raise StopRequestedError(signal.Signals(number).name)
