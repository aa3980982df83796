"""What a client is told that waits for a slot of the account, if it asked to be told.

The key decision: only if it asked (`queue_status=true` in the URL). ElevenLabs' browser SDK hangs for ever when
anything comes before the metadata, and a place in a queue comes before it by its nature.
"""

from __future__ import annotations

import orjson

from service.account_limiter import QueuePosition
from service.websocket import WebSocketConnection


class WaitingRoom:
    """One client's wait. `queue_status` is ElevenLabs' own event; the place in the queue is an event of ours."""

    def __init__(self, client: WebSocketConnection, *, asked: bool) -> None:
        self._client = client
        self._asked = asked
        self._has_waited = False

    def note_position(self, queue: QueuePosition) -> None:
        """Tell the place, 1 for the next, and the seconds that are expected, null when there is nothing to judge by.

        Raises:
            SocketError: the client is gone, so it need not wait any more.
        """
        if not self._has_waited:
            self._has_waited = True
            self._tell("queue_status", {"status": "waiting"})
        expected = None if queue.expected_seconds is None else round(queue.expected_seconds, 1)
        self._tell("queue_position", {"position": queue.position, "expected_seconds": expected})

    def admit(self) -> None:
        """Its turn has come."""
        if self._has_waited:
            self._tell("queue_status", {"status": "admitted"})

    def give_up(self) -> None:
        """Its turn has not come in time."""
        if self._has_waited:
            self._tell("queue_status", {"status": "timed_out"})

    def _tell(self, kind: str, event: dict[str, object]) -> None:
        if self._asked:
            self._client.send_text(orjson.dumps({"type": kind, f"{kind}_event": event}))
