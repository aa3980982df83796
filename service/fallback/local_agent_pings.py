"""The pings of one conversation: when the next is due, and how long the last round trip took.

The key decision: a ping carries the last measurement, as ElevenLabs' do, so both sides know it without a further event.
"""

from __future__ import annotations

import time

from service.fallback import local_agent_events as events
from service.fallback.local_agent_events import Event

KEPT_PINGS = 16


class Pings:
    """Makes pings and measures their pongs."""

    def __init__(self) -> None:
        self._last_id = 0
        self._sent: dict[int, float] = {}
        self.round_trip_ms: int | None = None

    def next(self) -> Event:
        """Make the next ping and start its clock."""
        self._last_id += 1
        self._sent[self._last_id] = time.monotonic()
        if len(self._sent) > KEPT_PINGS:
            del self._sent[next(iter(self._sent))]
        return events.ping(self._last_id, self.round_trip_ms)

    def answered(self, event_id: int) -> None:
        """Take a pong; one for no ping of ours means nothing."""
        sent_at = self._sent.pop(event_id, None)
        if sent_at is not None:
            # At least 1: the Python SDK takes 0 for no measurement.
            self.round_trip_ms = max(1, round((time.monotonic() - sent_at) * 1000))
