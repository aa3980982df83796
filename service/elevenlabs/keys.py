"""Which key of ElevenLabs' a request is sent with, and what follows when ElevenLabs refuses one (401).

The key decision: a refused key is not the end of the request. ElevenLabs has not acted on it, so it is sent once more,
with another key if there is one: the one that has been written to Vault meanwhile, which is read at once for this, or
the one of before, which is kept for a while after a rotation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from service.deadline import within_deadline
from service.errors import UpstreamKeyError
from service.secret import Secret

log = structlog.get_logger(__name__)
T = TypeVar("T")

REFRESH_SECONDS = 1.8
"""Most that a refused request waits for the keys to be read again; docs/secrets.md promises 2 s in all."""

REFUSED_SECONDS = 30.0
"""For how long a refused key stands behind the others: it may have been mended at ElevenLabs."""

MAX_REFUSED = 16


def _nothing(_: float) -> bool:
    return False


class KeyChoice:
    """The keys that `usable` gives, the newest first.

    `refresh(seconds)` has them read again and waits for it; with 0 it does not wait.
    """

    def __init__(
        self, usable: Callable[[], Sequence[Secret]], *, refresh: Callable[[float], bool] | None = None
    ) -> None:
        self._usable = usable
        self._refresh = refresh or _nothing
        self._refused: list[tuple[Secret, float]] = []  # and until when (monotonic)

    def send(self, ask: Callable[[Secret], T]) -> T:
        """What `ask` brings, called with the best key, and with the next best one if that is refused.

        Raises:
            SecretsUnavailableError: there is no key.
            UpstreamKeyError: no key of ours is taken.
        """
        first = self._best()
        was_refused = self._is_refused(first)
        try:
            return ask(first)
        except UpstreamKeyError as exc:
            refusal = exc
        self._note_refused(first)
        # Who is refused again and again does not wait each time for the same answer.
        self._refresh(0.0 if was_refused else within_deadline(REFRESH_SECONDS))
        second = self._best()
        if second == first or self._is_refused(second):
            raise refusal
        log.warning("a refused key is replaced by another")
        try:
            return ask(second)
        except UpstreamKeyError:
            self._note_refused(second)
            raise

    def _best(self) -> Secret:
        keys = self._usable()
        return next((key for key in keys if not self._is_refused(key)), keys[0])

    def _is_refused(self, key: Secret) -> bool:
        if not self._refused:
            return False
        now = time.monotonic()
        return any(key == refused and now < until for refused, until in self._refused)

    def _note_refused(self, key: Secret) -> None:
        now = time.monotonic()
        others = [one for one in self._refused if now < one[1] and one[0] != key]
        self._refused = [*others, (key, now + REFUSED_SECONDS)][-MAX_REFUSED:]
