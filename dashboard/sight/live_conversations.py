"""What Redis knows of conversations: which of them go on, and when each gave its last sign.

The key decision: the ledger's last entry says it, in one round trip for a whole page. The database hears of an end a
moment later than Redis, and of a worker that was killed never: so a conversation that it has no end of is not believed
to go on because of that alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from service.conversation.ledger_entries import EntryKind, decode
from service.conversation.ledger_stream import LedgerStream
from service.redis_keys import conversation_key
from service.storage import ConversationSummary

_Entry = tuple[bytes, dict[bytes, bytes]]


@dataclass(frozen=True)
class Sign:
    """The newest thing that was noted of a conversation, and the end if it was one.

    `at` is its Unix time and `age_seconds` how long ago that is, both by Redis' clock: ours may be another.
    """

    at: float
    age_seconds: float
    end: ConversationSummary | None = None


class LiveConversations:
    """Reads the ledger in `store`, which needs short timeouts. Every method raises RedisError."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store
        self._stream = LedgerStream(store)

    def signs(self, conversation_ids: Sequence[str]) -> dict[str, Sign]:
        """The newest sign of each; one of which Redis has nothing (any more) is missing."""
        if not conversation_ids:
            return {}
        with self._store.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for name in conversation_ids:
                pipeline.xrevrange(conversation_key(name, "ledger"), count=1)
            (seconds, micros), *found = pipeline.execute()
        now = seconds + micros / 1e6
        pairs = zip(conversation_ids, cast("list[list[_Entry]]", found), strict=True)
        return {name: _sign(entries[0][1], now) for name, entries in pairs if entries}

    def waiting(self, most: int) -> list[ConversationSummary]:
        """Conversations of which the database does not have everything yet: what is known while it is away.

        In an outage these are all that have begun or gone on since. Their newest summaries, newest conversation first.
        """
        names, _ = self._stream.waiting(older_than_seconds=0.0, most=most)
        if not names:
            return []
        with self._store.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.xrange(conversation_key(name, "ledger"), count=1)
                pipeline.xrevrange(conversation_key(name, "ledger"), count=1)
            ends = cast("list[list[_Entry]]", pipeline.execute())
        found = [_newest_summary(entry[1] for entries in pair for entry in entries) for pair in _pairs(ends)]
        known = [summary for summary in found if summary is not None]
        return sorted(known, key=lambda summary: (summary.started_at, summary.id), reverse=True)

    def entries(self, conversation_id: str) -> list[tuple[int, int, str, bytes]]:
        """Everything that the ledger has of one conversation, for `ledger_history.make_history`."""
        return self._stream.read(conversation_id)


def _sign(fields: dict[bytes, bytes], now: float) -> Sign:
    at = int(fields.get(b"t", b"0")) / 1000
    summary = _summary(fields) if fields.get(b"k") == EntryKind.END.value.encode() else None
    return Sign(at, max(0.0, now - at), summary)


def _newest_summary(entries: Iterable[dict[bytes, bytes]]) -> ConversationSummary | None:
    found = [summary for fields in entries if (summary := _summary(fields)) is not None]
    return found[-1] if found else None


def _summary(fields: dict[bytes, bytes]) -> ConversationSummary | None:
    try:
        record = decode(fields.get(b"k", b"").decode("utf-8", "replace"), fields.get(b"r", b""))
    except ValueError:  # of a release that writes more than this one can read
        return None
    return record if isinstance(record, ConversationSummary) else None


def _pairs(found: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(found[::2], found[1::2], strict=True))
