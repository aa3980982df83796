"""Counts from outside of Redis who holds a slot of the account: processes tell it, and it sees when one dies.

The key decision: holders stamp what they do with the machine's monotonic clock, and who held when is computed at the
end. So a line that is read late changes nothing. What counts is what the limiter guarantees: a lease from its grant to
its end, the death of its process, or the moment at which its holder itself must take it for lost, whichever is first.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

RUNNING, GIVEN_BACK, LOST, DIED = "running", "given back", "lost", "died"


@dataclass
class Holding:
    """One lease as its holder told of it; times are of the monotonic clock. `is_static`: Redis did not grant it."""

    pid: int
    priority: int
    place: int
    fence: int
    asked_at: float
    granted_at: float
    valid_until: float
    is_static: bool
    ended_at: float = float("inf")
    how: str = RUNNING

    @property
    def counted_until(self) -> float:
        """When the limiter's promise for it ended."""
        return min(self.ended_at, self.valid_until)


class Oracle:
    """Listens at `port` of the loopback interface from its making to `close`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.holdings: list[Holding] = []
        self.timeouts = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def snapshot(self) -> list[Holding]:
        """What is known now."""
        with self._lock:
            return list(self.holdings)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        open_ones: dict[int, Holding] = {}
        with connection, connection.makefile("rb") as lines:
            try:
                for line in lines:
                    if line.endswith(b"\n"):
                        self._take(orjson.loads(line), open_ones)
            except ConnectionError:
                pass
        now = time.monotonic()
        for holding in open_ones.values():
            holding.ended_at, holding.how = now, DIED

    def _take(self, said: dict[str, object], open_ones: dict[int, Holding]) -> None:
        number = int(str(said.pop("number", 0)))
        kind = said.pop("kind")
        if kind == "timeout":
            self.timeouts += 1
        elif kind == "granted":
            open_ones[number] = Holding(**said)  # type: ignore[arg-type]  # our own holders say nothing else
            with self._lock:
                self.holdings.append(open_ones[number])
        elif kind == "renewed":
            open_ones[number].valid_until = float(str(said["valid_until"]))
        else:
            holding = open_ones.pop(number)
            holding.ended_at, holding.how = float(str(said["at"])), str(kind)


def peak(holdings: Iterable[Holding]) -> int:
    """The most that were held at one moment."""
    changes = sorted(
        change
        for holding in holdings
        if holding.granted_at < holding.counted_until
        for change in ((holding.granted_at, 1), (holding.counted_until, -1))
    )
    most = now = 0
    for _, change in changes:  # at one moment an end sorts before a beginning
        now += change
        most = max(most, now)
    return most


def overtaken(holdings: Sequence[Holding], silences: Mapping[int, Sequence[tuple[float, float]]]) -> list[Holding]:
    """Who was granted later than somebody of its class who came after it, although its process was never silent.

    `silences`: when each process was stopped.
    """
    found = []
    for priority in {holding.priority for holding in holdings}:
        highest = 0
        for holding in sorted(_granted_by_redis(holdings, priority), key=lambda each: each.fence):
            if holding.place < highest and not _was_silent(holding, silences.get(holding.pid, ())):
                found.append(holding)
            highest = max(highest, holding.place)
    return found


def _granted_by_redis(holdings: Iterable[Holding], priority: int) -> list[Holding]:
    return [each for each in holdings if each.priority == priority and not each.is_static]


def _was_silent(holding: Holding, silences: Iterable[tuple[float, float]]) -> bool:
    return any(begin <= holding.granted_at and end >= holding.asked_at for begin, end in silences)
