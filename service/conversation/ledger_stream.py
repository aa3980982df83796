"""The ledger in Redis: a stream for each conversation, an index of those that the database does not have yet.

The key decision: one script (`ledger.lua`) does whatever has to be one step, so no crash and no second worker can come
in between; and everything that is asked of it can be asked again. Many conversations go in one round trip.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import redis

from service import redis_keys
from service.redis_keys import conversation_key

INDEX_KEY = f"{redis_keys.LEDGER_INDEX.prefix}pending"
LEASE_SECONDS = 10.0
"""After which a conversation is free to be drained by another whose drainer has died or hangs."""

REFUSED_SECONDS = 86_400.0
MAX_ENTRIES = 10_000
"""Of one conversation in Redis, and in truth many fewer: what the database has is dropped but for the last 1000."""

READ_PAGE = 500
CROWDED_SHARE = 0.8

Raw = tuple[str, bytes]
"""Kind and record of an entry, as they lie there."""


class Answer(StrEnum):
    """What came of an append."""

    OK = "ok"
    FENCED = "fenced"  # somebody else goes on with the conversation
    GAP = "gap"  # Redis does not have what came before
    BEHIND = "behind"  # an owner of before has used these numbers, since Redis lost its memory
    FULL = "full"
    REFUSED = "refused"  # the conversation was erased
    FAILED = "failed"  # Redis cannot do it now


@dataclass(frozen=True)
class Append:
    """Entries to append to a conversation's stream: (sequence, kind, record).

    All up to `floor` are in the database, or nowhere any more.
    """

    conversation_id: str
    fence: int
    floor: int
    entries: Sequence[tuple[int, str, bytes]]


@dataclass(frozen=True)
class Appended:
    """The answer, and the newest sequence that the stream has."""

    answer: Answer
    last: int


@dataclass(frozen=True)
class Progress:
    """How far a conversation is: the stream's newest sequence, up to where the database has it, the newest fence."""

    last: int
    confirmed: int
    fence: int
    is_refused: bool = False


@dataclass(frozen=True)
class Taken:
    """Entries that are to be written now: (sequence, kind, record); `is_held`: somebody else is at it."""

    entries: Sequence[tuple[int, str, bytes]]
    is_held: bool = False


@dataclass(frozen=True)
class Acknowledged:
    """Up to where the database has everything, and the stream's newest sequence."""

    confirmed: int
    last: int


class LedgerStream:
    """The streams in `store`, which needs short timeouts.

    Every method raises RedisError when Redis does not answer; repeating the call is safe.
    """

    def __init__(self, store: redis.Redis, *, max_entries: int = MAX_ENTRIES, lease_seconds: float = LEASE_SECONDS):
        self._store = store
        self._max_entries = max_entries
        self._lease_ms = round(lease_seconds * 1000)

    def append(self, appends: Sequence[Append]) -> list[Appended]:
        """Append to several conversations; what was appended before is not doubled."""
        calls = []
        for one in appends:
            entries = [part for entry in one.entries for part in entry]
            calls.append(("append", one.conversation_id, one.fence, one.floor, self._max_entries, *entries))
        return [
            Appended(Answer.FAILED, 0) if isinstance(raw, Exception) else Appended(Answer(raw[0].decode()), int(raw[1]))
            for raw in self._run(calls)
        ]

    def progress(self, conversation_ids: Sequence[str]) -> list[Progress | None]:
        """How far these conversations are; None of one that Redis cannot tell."""
        found = self._run([("progress", each) for each in conversation_ids])
        return [
            None
            if isinstance(raw, Exception)
            else Progress(int(raw[0]), int(raw[1]), int(raw[2]), is_refused=int(raw[0]) < 0)
            for raw in found
        ]

    def take_over(self, conversation_id: str, fence: int) -> tuple[int, int] | None:
        """Fence off whoever owned the conversation; the result is our fence (`fence` at least) and the newest sequence.

        None: the conversation was erased.
        """
        raw = _sound(self._run([("take_over", conversation_id, fence)])[0])
        return None if raw[0] == b"refused" else (int(raw[0]), int(raw[1]))

    def take(self, conversation_ids: Sequence[str], holder: str, most: int) -> list[Taken | None]:
        """The first `most` entries of each conversation that are not in the database; None if Redis cannot tell.

        Whoever is given some has the conversation to itself for ten seconds, or until it acknowledges.
        """
        found = self._run([("take", each, holder, self._lease_ms, most) for each in conversation_ids])
        return [None if isinstance(raw, Exception) else _taken(raw) for raw in found]

    def acknowledge(self, done: Sequence[tuple[str, Sequence[int]]], holder: str) -> list[Acknowledged | None]:
        """Tell which sequences of which conversations are in the database; how far each of them is now.

        None of one that Redis could not be told of: it will bring those entries again.
        """
        found = self._run([("acknowledge", each, holder, *sequences) for each, sequences in done])
        return [None if isinstance(raw, Exception) else Acknowledged(int(raw[0]), int(raw[1])) for raw in found]

    def refuse(self, conversation_ids: Iterable[str], holder: str) -> None:
        """Throw away what lies here of conversations that were erased, and keep more of it from coming."""
        self._run([("refuse", each, holder, round(REFUSED_SECONDS * 1000)) for each in conversation_ids])

    def waiting(self, *, older_than_seconds: float, most: int) -> tuple[list[str], float]:
        """Conversations that have waited for so long for the database, longest first; and how long the oldest has."""
        with self._store.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.zrange(INDEX_KEY, 0, most - 1, withscores=True)
            (seconds, micros), found = cast("tuple[tuple[int, int], list[tuple[bytes, float]]]", pipeline.execute())
        now = seconds + micros / 1e6
        waited = [(member.decode("utf-8", "replace"), now - since / 1000) for member, since in found]
        lag = max(0.0, waited[0][1]) if waited else 0.0
        return [name for name, age in waited if age >= older_than_seconds], lag

    def read(self, conversation_id: str) -> list[tuple[int, int, str, bytes]]:
        """Every entry that the stream has, in order: sequence, fence, kind, record."""
        key = conversation_key(conversation_id, "ledger")
        entries: list[tuple[int, int, str, bytes]] = []
        start = "-"
        while True:
            page = cast("list[tuple[bytes, dict[bytes, bytes]]]", self._store.xrange(key, start, "+", READ_PAGE))
            entries += [(_sequence(name), int(one[b"f"]), one[b"k"].decode(), one[b"r"]) for name, one in page]
            if len(page) < READ_PAGE:
                return entries
            start = f"({page[-1][0].decode()}"

    def is_crowded(self) -> bool:
        """Whether Redis has so little memory left that it is for others: without it nobody gets in."""
        try:
            found = cast("dict[str, int]", self._store.info("memory"))
        except redis.ResponseError:  # we may not ask; then it says so itself when it is full
            return False
        most = int(found.get("maxmemory", 0))
        return most > 0 and int(found.get("used_memory", 0)) > most * CROWDED_SHARE

    # --- The script

    def _run(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run the script for each of `calls`, in one round trip; what one of them met is in its place."""
        if not calls:
            return []
        found = self._execute(calls)
        if any(isinstance(each, redis.exceptions.NoScriptError) for each in found):
            self._store.script_load(self._text)  # this server has not seen it since it began
            found = self._execute(calls)
        return found

    def _execute(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        with self._store.pipeline(transaction=False) as pipeline:
            for action, conversation_id, *rest in calls:
                keys = [conversation_key(conversation_id, part) for part in ("ledger", "drain", "refused")]
                pipeline.evalsha(
                    self._sha, 4, *keys, INDEX_KEY, action, conversation_id.encode(errors="replace"), *rest
                )
            return pipeline.execute(raise_on_error=False)

    @functools.cached_property
    def _text(self) -> str:
        return Path(__file__).with_name("ledger.lua").read_text()

    @functools.cached_property
    def _sha(self) -> str:
        return hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()  # which is how Redis names it


def _taken(raw: Sequence[Any]) -> Taken:
    if raw[0] != b"entries":
        return Taken((), is_held=raw[0] == b"held")
    entries = []
    for name, flat in raw[1]:
        one = dict(zip(flat[::2], flat[1::2], strict=True))
        entries.append((_sequence(name), one.get(b"k", b"").decode("utf-8", "replace"), one.get(b"r", b"")))
    return Taken(entries)


def _sequence(name: bytes) -> int:
    return int(name.partition(b"-")[0])


def _sound(raw: Any) -> Any:
    if isinstance(raw, Exception):
        raise raw
    return raw
