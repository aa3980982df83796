"""What this worker has noted of its conversations and the database does not have yet, in memory and within bounds.

The key decision: an entry is forgotten when the database has it, not when Redis has it. So a Redis that loses its
memory is given everything again, a Redis that is away is passed by, and both paths may bring the same entry: it has a
sequence number in its conversation, and is the same wherever it comes from. Pure memory: no I/O, any thread.

Bounds: of what Redis has, 200 entries are kept for each conversation (and its beginning, without which the database
takes nothing); of everything together, `max_entries`. Above that the newest are dropped, and counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from service.conversation.ledger_entries import conversation_id_of
from service.metrics import RecordLoss
from service.storage.conversation_records import ConversationSummary, Utterance
from service.storage.record_writer import Record

MAX_ENTRIES = 20_000
MAX_CHARACTERS = 32_000_000
KEPT_OF_ONE = 200
BATCH = 100
FORGOTTEN_AFTER_SECONDS = 60.0
"""A conversation that has ended, or was taken over by another worker, is known for so long: something may come late."""

FIRST_FENCE = 1


@dataclass(frozen=True)
class Entry:
    """A record with its place in its conversation, and when it was noted (monotonic)."""

    sequence: int
    record: Record
    noted_at: float


@dataclass(frozen=True)
class Batch:
    """Entries of one conversation, in order, and what `LedgerStream.append` wants to know of it."""

    conversation_id: str
    fence: int
    floor: int
    entries: list[Entry]


@dataclass
class _Talk:
    fence: int
    next_sequence: int
    floor: int = 0  # up to where the database has everything
    evicted: int = 0  # the newest that was given up because Redis has it
    sent: int = 0  # up to where Redis has everything
    first: int = 1  # the beginning, which is not given up
    entries: deque[Entry] = field(default_factory=deque)
    goes_direct: bool = False
    is_fenced: bool = False
    idle_since: float | None = None  # since it is over

    def unsent(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.sequence > self.sent]


class LedgerBook:
    """The entries of this worker's conversations; `max_entries` and `max_characters` bound them all together.

    `on_lost` is told what was dropped. `clock` is monotonic.
    """

    def __init__(
        self,
        *,
        max_entries: int = MAX_ENTRIES,
        max_characters: int = MAX_CHARACTERS,
        on_lost: Callable[[int, RecordLoss], None],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._max_entries = max_entries
        self._max_characters = max_characters
        self._on_lost = on_lost
        self._clock = clock or _monotonic
        self._lock = threading.Lock()
        self._talks: dict[str, _Talk] = {}
        self._unsent: dict[str, None] = {}  # those with something that Redis does not have, in their order
        self._count = 0
        self._characters = 0
        self._may_evict = False

    # --- What is noted

    def add(self, record: Record) -> bool:
        """Put a record aside; false if there is no room, or the conversation is no longer ours."""
        conversation_id, size = conversation_id_of(record), _size(record)
        with self._lock:
            talk = self._talks.get(conversation_id)
            if talk is None:
                talk = self._talks[conversation_id] = _Talk(FIRST_FENCE, 1)
            loss = RecordLoss.FENCED if talk.is_fenced else None
            if loss is None and not self._has_room(size):
                loss = RecordLoss.NO_MEMORY
            if loss is None:
                self._put(conversation_id, talk, record)
                is_end = isinstance(record, ConversationSummary) and record.ended_at is not None
                talk.idle_since = self._clock() if is_end else None
        if loss is not None:
            self._on_lost(1, loss)
        return loss is None

    def take_over(self, conversation_id: str, *, fence: int, sequence: int) -> None:
        """Own a conversation with this fence; its newest entry in Redis has this sequence.

        What we have of it that Redis has not, if it was ours, comes behind that.
        """
        with self._lock:
            before = self._talks.get(conversation_id)
            ours = before.unsent() if before is not None else []
            self._drop(conversation_id)
            talk = _Talk(fence, sequence + 1, floor=sequence, sent=sequence, first=sequence + 1)
            self._talks[conversation_id] = talk
            for entry in ours:
                self._put(conversation_id, talk, entry.record)

    def renumber(self, conversation_id: str, sequence: int) -> None:
        """Let everything that we have of a conversation come behind this sequence."""
        with self._lock:
            talk = self._talks.get(conversation_id)
            if talk is None or talk.is_fenced:
                return
            ours = list(talk.entries)
            self._forget(talk, talk.next_sequence)
            talk.next_sequence, talk.first = sequence + 1, sequence + 1
            talk.floor = talk.sent = sequence
            for entry in ours:
                self._put(conversation_id, talk, entry.record)

    def release(self, conversation_id: str) -> None:
        """Nothing more comes from us of this conversation; what was noted still goes its way."""
        with self._lock:
            talk = self._talks.get(conversation_id)
            if talk is not None and talk.idle_since is None:
                talk.idle_since = self._clock()

    # --- What goes to Redis

    def unsent_batches(self, most_conversations: int = BATCH) -> list[Batch]:
        """What Redis does not have yet, oldest first, at most 100 entries of each conversation."""
        batches = []
        with self._lock:
            for conversation_id in list(self._unsent)[:most_conversations]:
                talk = self._talks[conversation_id]
                entries = talk.unsent()[:BATCH]
                if not entries:
                    del self._unsent[conversation_id]
                    continue
                # What we no longer have from before these is in the database, or nobody has it.
                begins_anew = entries[0] is talk.entries[0] or entries[0].sequence > talk.sent + 1
                floor = entries[0].sequence - 1 if begins_anew else talk.floor
                batches.append(Batch(conversation_id, talk.fence, floor, entries))
        return batches

    def was_sent(self, conversation_id: str, sequence: int) -> None:
        """Redis has everything of the conversation up to `sequence`."""
        with self._lock:
            talk = self._talks.get(conversation_id)
            if talk is None:
                return
            talk.sent = max(talk.sent, sequence)
            talk.goes_direct = False
            self._may_evict = True
            self._evict(talk, KEPT_OF_ONE)
            self._unsent.pop(conversation_id, None)
            if talk.next_sequence - 1 > talk.sent:
                self._unsent[conversation_id] = None  # behind the others

    def redis_has(self, conversation_id: str, last: int) -> None:
        """Redis has lost what is behind `last`: it is sent again, as far as it is still known."""
        forgotten = 0
        with self._lock:
            talk = self._talks.get(conversation_id)
            if talk is None or last >= talk.sent:
                return
            since = max(last, talk.floor)
            if talk.evicted > since:
                kept = sum(1 for entry in talk.entries if since < entry.sequence <= talk.evicted)
                forgotten = talk.evicted - since - kept
                talk.evicted = 0
            talk.sent = last
            if talk.entries and talk.entries[-1].sequence > last:
                self._unsent[conversation_id] = None
        if forgotten:
            self._on_lost(forgotten, RecordLoss.FORGOTTEN)

    def redis_failed(self, conversation_ids: Iterable[str] | None = None) -> None:
        """Redis cannot take what there is of these conversations (None: of any): it goes straight to the database."""
        with self._lock:
            for conversation_id in self._talks if conversation_ids is None else conversation_ids:
                talk = self._talks.get(conversation_id)
                if talk is not None:
                    talk.goes_direct = True

    def fence_off(self, conversation_id: str) -> bool:
        """Somebody else goes on with the conversation; true the first time. What Redis has not taken is dropped."""
        with self._lock:
            talk = self._talks.get(conversation_id)
            if talk is None or talk.is_fenced:
                return False
            talk.is_fenced = True
            talk.idle_since = self._clock()
            lost = len(talk.unsent())
            self._forget(talk, talk.next_sequence)
            self._unsent.pop(conversation_id, None)
        if lost:
            self._on_lost(lost, RecordLoss.FENCED)
        return True

    def refuse(self, conversation_id: str) -> None:
        """The conversation was erased: nothing of it is kept, now or later."""
        with self._lock:
            talk = self._talks.get(conversation_id)
            if talk is not None:
                self._forget(talk, talk.next_sequence)
                self._unsent.pop(conversation_id, None)
                talk.sent = talk.next_sequence - 1

    # --- What goes to the database

    def direct_batches(self, most: int) -> list[Batch]:
        """What goes straight to the database, at most `most` entries."""
        batches, left = [], most
        with self._lock:
            for conversation_id, talk in self._talks.items():
                if left <= 0:
                    break
                if talk.goes_direct and talk.entries:
                    entries = list(talk.entries)[:left]
                    left -= len(entries)
                    batches.append(Batch(conversation_id, talk.fence, talk.floor, entries))
        return batches

    def confirm(self, conversation_id: str, sequence: int) -> None:
        """The database has everything of the conversation up to `sequence`."""
        with self._lock:
            talk = self._talks.get(conversation_id)
            if talk is not None:
                self._forget(talk, sequence)
                talk.floor = max(talk.floor, min(sequence, talk.next_sequence - 1))
                talk.sent = max(talk.sent, talk.floor)

    def unconfirmed(self, *, noted_before: float | None = None, most: int | None = None) -> list[str]:
        """Conversations of which Redis has something that the database does not have, as far as we know."""
        with self._lock:
            found = [
                conversation_id
                for conversation_id, talk in self._talks.items()
                if talk.entries
                and talk.entries[0].sequence <= talk.sent
                and (noted_before is None or talk.entries[0].noted_at <= noted_before)
            ]
        return found[:most]

    # --- Its size

    @property
    def pending(self) -> int:
        """Entries that the database does not have, as far as we know."""
        return self._count

    @property
    def unsent(self) -> int:
        """Entries that are nowhere but here."""
        with self._lock:
            return sum(len(self._talks[conversation_id].unsent()) for conversation_id in self._unsent)

    @property
    def has_unsent(self) -> bool:
        """Whether something is to be sent to Redis."""
        return bool(self._unsent)

    def fence_of(self, conversation_id: str) -> int:
        """Our fence for a conversation; 0 if it is none of ours."""
        talk = self._talks.get(conversation_id)
        return 0 if talk is None else talk.fence

    def tidy(self) -> None:
        """Forget conversations that are over, and of which nothing waits."""
        before = self._clock() - FORGOTTEN_AFTER_SECONDS
        with self._lock:
            over = [
                conversation_id
                for conversation_id, talk in self._talks.items()
                if not talk.entries and talk.idle_since is not None and talk.idle_since < before
            ]
            for conversation_id in over:
                del self._talks[conversation_id]

    # --- With the lock held

    def _put(self, conversation_id: str, talk: _Talk, record: Record) -> None:
        talk.entries.append(Entry(talk.next_sequence, record, self._clock()))
        talk.next_sequence += 1
        self._unsent[conversation_id] = None
        self._count += 1
        self._characters += _size(record)

    def _has_room(self, size: int) -> bool:
        if self._count < self._max_entries and self._characters + size <= self._max_characters:
            return True
        if self._may_evict:  # else there is nothing, and to look for it took longer each time
            for talk in self._talks.values():
                self._evict(talk, 0)
            self._may_evict = False
        return self._count < self._max_entries and self._characters + size <= self._max_characters

    def _evict(self, talk: _Talk, keep: int) -> None:
        """Give up the oldest of what Redis has, but for the beginning and the newest `keep`."""
        entries = talk.entries
        if not entries or entries[-1].sequence - entries[0].sequence < keep:
            return
        sent = [entry for entry in entries if entry.sequence <= talk.sent]
        excess = [entry for entry in sent if entry.sequence != talk.first][: max(0, len(sent) - 1 - keep)]
        if not excess:
            return
        gone = {entry.sequence for entry in excess}
        talk.entries = deque(entry for entry in entries if entry.sequence not in gone)
        talk.evicted = excess[-1].sequence
        self._count -= len(excess)
        self._characters -= sum(_size(entry.record) for entry in excess)

    def _forget(self, talk: _Talk, sequence: int) -> None:
        while talk.entries and talk.entries[0].sequence <= sequence:
            self._count -= 1
            self._characters -= _size(talk.entries.popleft().record)

    def _drop(self, conversation_id: str) -> None:
        talk = self._talks.pop(conversation_id, None)
        self._unsent.pop(conversation_id, None)
        if talk is not None:
            self._forget(talk, talk.next_sequence)


def _size(record: Record) -> int:
    return 200 + (len(record.text) if isinstance(record, Utterance) else 0)


def _monotonic() -> float:
    return time.monotonic()
