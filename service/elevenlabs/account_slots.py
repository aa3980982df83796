"""Slots of the account, for whoever wants to talk or to speak: taken before ElevenLabs is asked, given back at the end.

The key decision: waiting here is better than being refused there, and only an operator knows what the plan allows. So
a kind of slot has a limiter only when its bound is configured; without one, nothing is asked of Redis.

What ElevenLabs tells of the plan in its answers' headers is learned; its refusal halves the bound for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from service.account_limiter import AccountLimiter, LimiterStats, Priority, QueuePosition
from service.deadline import within_deadline
from service.errors import LimiterTimeoutError, UpstreamConcurrencyError
from service.metrics_elevenlabs import LimiterName, SlotPriority, limiter_timed_out, limiter_waited

Release = Callable[[], None]
"""Gives a slot back; may be called again, from any thread, and waits for nothing."""


def _nothing() -> None:
    """What gives back a slot that nobody had to take."""


class AccountSlots:
    """`agents` bounds conversations, `speech` requests for speech; None: not bounded here. One waits `wait_seconds`."""

    def __init__(
        self, *, agents: AccountLimiter | None = None, speech: AccountLimiter | None = None, wait_seconds: float = 10.0
    ) -> None:
        self._agents = agents
        self._speech = speech
        self._wait_seconds = wait_seconds

    def start(self) -> None:
        """Begin to keep slots."""
        for limiter in self._limiters():
            limiter.start()

    def close(self) -> None:
        """Give back what is held; whoever waits is refused."""
        for limiter in self._limiters():
            limiter.close()

    def stats(self) -> dict[LimiterName, LimiterStats]:
        """What each limiter tells about itself."""
        limiters = {LimiterName.AGENTS: self._agents, LimiterName.SPEECH: self._speech}
        return {name: limiter.stats() for name, limiter in limiters.items() if limiter is not None}

    @contextmanager
    def conversation(
        self,
        *,
        priority: Priority = Priority.GREETING,
        on_wait: Callable[[QueuePosition], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> Iterator[Release]:
        """A slot for the conversation that is opened in the block; see `AccountLimiter.acquire` for the callbacks.

        The slot is given back if the block raises, else by whom it was handed to.

        Raises:
            CapacityError: none came free in time, or too many wait already.
        """
        with self._slot(LimiterName.AGENTS, priority, on_wait, on_lost) as release:
            yield release

    @contextmanager
    def speech(self) -> Iterator[Release]:
        """A slot for the request that is made in the block; as `conversation`."""
        with self._slot(LimiterName.SPEECH, Priority.LIVE_TURN, None, None) as release:
            yield release

    def learn_speech(self, headers: Mapping[str, str]) -> None:
        """Take what the headers of an answer tell of the plan and of what runs now."""
        if self._speech is not None:
            self._speech.learn(
                current=_number(headers.get("current-concurrent-requests")),
                maximum=_number(headers.get("maximum-concurrent-requests")),
            )

    def _limiters(self) -> list[AccountLimiter]:
        return [limiter for limiter in (self._agents, self._speech) if limiter is not None]

    @contextmanager
    def _slot(
        self,
        name: LimiterName,
        priority: Priority,
        on_wait: Callable[[QueuePosition], None] | None,
        on_lost: Callable[[], None] | None,
    ) -> Iterator[Release]:
        limiter = self._agents if name is LimiterName.AGENTS else self._speech
        if limiter is None:
            yield _nothing
            return
        timeout = within_deadline(self._wait_seconds)
        begun = time.monotonic()
        try:
            lease = limiter.acquire(priority, timeout=timeout, on_wait=on_wait, on_lost=on_lost)
        except LimiterTimeoutError:
            limiter_timed_out(name)
            raise
        finally:
            limiter_waited(name, SlotPriority[priority.name], time.monotonic() - begun)
        try:
            yield lease.release
        except BaseException as exc:  # whatever it is, nobody else would give it back
            if isinstance(exc, UpstreamConcurrencyError):
                limiter.note_refusal()  # before the release: the slot is not to be had again at once
            lease.release()
            raise


def in_turn(first: Release | None, second: Release) -> Release:
    """Both, one after the other, whatever becomes of the first."""

    def release() -> None:
        try:
            if first is not None:
                first()
        finally:
            second()

    return release


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None
