"""What was sent to a client that may come back, until it is known to have arrived.

The key decision: the client counts what it receives, so an event needs no number of its own on the wire: its place is
its number. What TCP has taken from us may never arrive; only an answer to something that was sent later tells that it
did. The protocol's own `ping` and `pong` are such an answer, so clients need to do nothing new while all is well.

Bounded in bytes and messages: of what is too much the oldest goes, and a client that lacks it is told so.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

MOST_BYTES = 512_000
"""About half a minute of speech; clients answer ElevenLabs' pings every few seconds."""

MOST_MESSAGES = 2_000
MOST_PINGS = 64


class Outbox:
    """The counted messages to one client, numbered from 1 over all its connections.

    `begins_after`: so many were sent by another worker before. For one thread at a time (the event loop's).
    """

    __slots__ = ("_first", "_kept", "_kept_bytes", "_most_bytes", "_most_messages", "_pings", "sent_count")

    def __init__(
        self, *, begins_after: int = 0, most_bytes: int = MOST_BYTES, most_messages: int = MOST_MESSAGES
    ) -> None:
        self._most_bytes = most_bytes
        self._most_messages = most_messages
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._first = begins_after + 1
        self._pings: deque[tuple[object, int]] = deque(maxlen=MOST_PINGS)
        self.sent_count = begins_after
        """The number of the newest message."""

    @property
    def kept_bytes(self) -> int:
        """Bytes of messages that are kept just now."""
        return self._kept_bytes

    def sent(self, data: bytes) -> None:
        """Note a counted message; `data` must not change afterwards."""
        self.sent_count += 1
        self._kept.append(data)
        self._kept_bytes += len(data)
        while self._kept_bytes > self._most_bytes or len(self._kept) > self._most_messages:
            self._drop_oldest()

    def ping_sent(self, ping_id: object) -> None:
        """Note a `ping` event: its answer will tell that everything that was noted until now has arrived."""
        self._pings.append((ping_id, self.sent_count))

    def pong_received(self, ping_id: object) -> int:
        """Note the client's `pong`; the result is up to which number everything has arrived now.

        Another leg's pings may have the ids of an earlier one's: the oldest that is open counts, which never says too
        much.
        """
        position = next((position for known, position in self._pings if known == ping_id), 0)
        self.arrived(position)
        return self._first - 1

    def arrived(self, number: int) -> None:
        """Keep nothing up to this number any more: the client has it."""
        while self._pings and self._pings[0][1] <= number:
            self._pings.popleft()
        while self._kept and self._first <= number:
            self._drop_oldest()

    def missed_after(self, received: int) -> list[bytes] | None:
        """What a client lacks that has received so many, in order.

        None: some of it is not kept any more, or it says that it has more than was sent.
        """
        if not self._first - 1 <= received <= self.sent_count:
            return None
        return list(islice(self._kept, received - self._first + 1, None))

    def _drop_oldest(self) -> None:
        self._kept_bytes -= len(self._kept.popleft())
        self._first += 1
