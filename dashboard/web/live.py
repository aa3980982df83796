"""What keeps open pages up to date: a stream of events that says each second that there is something new.

The key decision: an event says that something is new, and not what. The page then asks for itself as it would by hand,
so there is one way in which things are shown, and what a user may not see is not in a stream either. A stream ends
after some minutes and the browser comes back, so that none is forgotten, and a session that has ended is noticed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import orjson
import redis
from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from dashboard.access.sessions import Sessions
from dashboard.sight.watch import Snapshot, Watch
from dashboard.web.context import parts, who
from dashboard.words.said import Said
from service.errors import ServiceUnavailableError

LONGEST_SECONDS = 300.0
SILENCE_SECONDS = 15.0
"""After which a comment tells proxies that the stream is still there."""

SESSION_SECONDS = 5.0
"""Between two looks whether the session goes on."""

BUSY_SECONDS = 10.0


class Seats:
    """How many streams are open, bounded by whoever takes one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    def take(self, most: int) -> bool:
        """Take one; False if `most` are taken."""
        with self._lock:
            if self._taken >= most:
                return False
            self._taken += 1
            return True

    def leave(self) -> None:
        """Give it back."""
        with self._lock:
            self._taken -= 1


def blueprint() -> Blueprint:
    """The route of the stream, with the seats of this process."""
    routes = Blueprint("live", __name__)
    seats = Seats()

    @routes.get("/api/live")
    def follow() -> ResponseReturnValue:
        if not seats.take(parts().settings.dashboard_streams):
            message = Said("errors.code.too_many_streams")
            raise ServiceUnavailableError(message, retry_after=BUSY_SECONDS, code="too_many_streams")
        events = follow_events(parts().watch, parts().sessions, who().session_id)
        response = Response(events, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
        # Not in the generator: one that nobody ever begins to read has no end either.
        response.call_on_close(seats.leave)
        return response

    return routes


def follow_events(watch: Watch, sessions: Sessions, session_id: str) -> Iterator[bytes]:
    """The events, for as long as the session goes on and somebody watches, and some minutes at most."""
    now = time.monotonic()
    ends_at, look_at = now + LONGEST_SECONDS, now + SESSION_SECONDS
    yield b"retry: 1000\n\n"
    looks = -1
    while (now := time.monotonic()) < ends_at and not watch.is_closed:
        if now >= look_at:
            if not _goes_on(sessions, session_id):
                yield b"event: ended\ndata: {}\n\n"
                return
            look_at = now + SESSION_SECONDS
        snapshot = watch.wait_for_look(looks, timeout=SILENCE_SECONDS)
        if snapshot.looks > looks:
            looks = snapshot.looks
            yield _event(snapshot)
        elif not watch.is_closed:
            yield b": still here\n\n"


def _goes_on(sessions: Sessions, session_id: str) -> bool:
    try:
        return sessions.goes_on(session_id)
    except redis.RedisError:
        return True  # who is signed in is not known now; the page says that Redis is gone


def _event(snapshot: Snapshot) -> bytes:
    told = {
        "at": snapshot.at or None,
        "redis": snapshot.redis_error or "ok",
        "database": snapshot.database_error or "ok",
    }
    return b"event: seen\ndata: " + orjson.dumps(told) + b"\n\n"
