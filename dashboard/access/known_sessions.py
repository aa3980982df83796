"""The session of a request, as Redis has it; while Redis does not answer, as it had it last.

The key decision: people on call need the dashboard just when Redis is gone, and pages know a lot in their memory. So
who was here within the last minutes may go on looking, and nothing else: whoever believes such a session must refuse
every change. No revocation is missed by it but one of the very last moment, because revoking needs Redis too.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace

import redis

from dashboard.access.sessions import Session, Sessions, id_of

BELIEVED_SECONDS = 600.0
MOST_REMEMBERED = 1000


@dataclass(frozen=True)
class FoundSession:
    """A session, and whether it is from memory, because Redis does not answer."""

    session: Session
    is_remembered: bool = False


@dataclass(frozen=True)
class _Memory:
    session: Session
    found_at: float  # all three by the monotonic clock
    idle_since: float
    ends_at: float


class KnownSessions:
    """Finds sessions by what a cookie shows."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Memory] = OrderedDict()

    def find(self, cookie: str, *, is_person: bool) -> FoundSession | None:
        """The session of this cookie, if it goes on; `is_person` as in `Sessions.find`.

        Raises:
            RedisError: Redis does not answer, and the session is not one of the last minutes.
        """
        session_id = id_of(cookie)
        try:
            session = self._sessions.find(cookie, is_person=is_person)
        except redis.RedisError:
            remembered = self._remembered(session_id)
            if remembered is None:
                raise
            return FoundSession(remembered, is_remembered=True)
        if session is None:
            with self._lock:
                self._known.pop(session_id, None)
            return None
        self._remember(session, is_person=is_person)
        return FoundSession(session)

    def _remembered(self, session_id: str) -> Session | None:
        now = time.monotonic()
        with self._lock:
            memory = self._known.get(session_id)
        if memory is None or now >= memory.ends_at or now - memory.found_at >= BELIEVED_SECONDS:
            return None
        if now - memory.idle_since >= self._sessions.idle_seconds:
            return None
        return replace(memory.session, confirmed_at=None)

    def _remember(self, session: Session, *, is_person: bool) -> None:
        now = time.monotonic()
        left = session.began_at + self._sessions.whole_seconds - session.seen_at
        with self._lock:
            before = self._known.pop(session.id, None)
            idle_since = now if is_person or before is None else before.idle_since
            self._known[session.id] = _Memory(session, now, idle_since, now + left)
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
