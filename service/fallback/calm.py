"""How long a conversation that has left a provider waits before it goes back, where the breaker never opened.

The key decision: a conversation alone makes too few calls for rates to mean anything, but it must not be carried to and
fro either. So failures count in bursts: after one it waits as long as a breaker would dwell; after a second one soon
after, until flapping is forgotten.
"""

from __future__ import annotations

from service.fallback.breaker_terms import BreakerTerms


class Calm:
    """The bursts of failures of one provider. Not safe from several threads."""

    def __init__(self, terms: BreakerTerms) -> None:
        self._terms = terms
        self._failed_at: float | None = None
        self._burst_at: float | None = None
        self._burst_before: float | None = None

    def note_failure(self, now: float) -> bool:
        """Note a failure; returns whether it is the first of a burst."""
        last, self._failed_at = self._failed_at, now
        is_first = last is None or now - last > self._terms.window_seconds
        if is_first:
            self._burst_before, self._burst_at = self._burst_at, now
        return is_first

    def note_return(self, now: float) -> None:
        """The provider comes back. That counts as a burst that is past: the next one is the second."""
        self._failed_at, self._burst_at = None, now

    def is_over(self, now: float) -> bool:
        """Whether it has been quiet for long enough."""
        if self._failed_at is None or self._burst_at is None:
            return True
        terms, before = self._terms, self._burst_before
        is_second = before is not None and self._burst_at - before < terms.flap_seconds + terms.dwell_seconds
        return now >= self._failed_at + (terms.flap_seconds if is_second else terms.dwell_seconds)
