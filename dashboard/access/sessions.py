"""Who is signed in: sessions on the server's side, in Redis, that end by themselves or when somebody says so.

The key decision: what a session is stands in one key that is written once and only ever expires, so nothing that comes
late can bring an ended one back. What changes lies beside it: that the password was shown again (a key that expires
with that), and when the session was seen last (a score in the list of the user's sessions). The cookie holds 256 random
bits; Redis, logs and pages have their digest alone, which opens nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import orjson
import redis

from service import redis_keys
from service.storage import AdminUser

ID_BYTES = 32
CONFIRMED_SECONDS = 300.0
MOST_OF_A_USER = 20
"""Sessions that a user has at most; the one that was seen longest ago makes room."""

LONGEST_COOKIE = 64
LONGEST_AGENT = 160

_PREFIX = redis_keys.SESSION.prefix


@dataclass(frozen=True)
class Session:
    """One browser's way in. `id` is its public name; times are seconds since 1970 by Redis' clock.

    `stamp` tells which password it was begun with.
    """

    id: str
    user_id: str
    stamp: str
    csrf_token: str = field(repr=False)
    began_at: float
    address: str
    agent: str
    seen_at: float = 0.0
    confirmed_at: float | None = None


class Sessions:
    """The sessions of all users. Every method raises RedisError when Redis does not answer.

    A session ends after `idle_seconds` without a request by a person, and `whole_seconds` after its beginning.
    """

    def __init__(self, store: redis.Redis, *, idle_seconds: float, whole_seconds: float) -> None:
        self._store = store
        self.idle_seconds = idle_seconds
        self.whole_seconds = whole_seconds

    def begin(self, user: AdminUser, *, address: str, agent: str, is_confirmed: bool = True) -> tuple[str, Session]:
        """A new session of `user`; the first value is for the cookie. `is_confirmed`: a password was just shown."""
        cookie = secrets.token_urlsafe(ID_BYTES)
        now = self._now()
        session = Session(
            id=id_of(cookie),
            user_id=user.id,
            stamp=stamp_of(user),
            csrf_token=secrets.token_urlsafe(ID_BYTES),
            began_at=now,
            address=address,
            agent=agent[:LONGEST_AGENT],
            seen_at=now,
            confirmed_at=now if is_confirmed else None,
        )
        kept = orjson.dumps({name: value for name, value in asdict(session).items() if name not in _BESIDE})
        with self._store.pipeline(transaction=True) as pipeline:
            pipeline.set(_key(session.id), kept, px=self._milliseconds(self.idle_seconds))
            if is_confirmed:
                pipeline.set(_confirmed_key(session.id), repr(now), px=round(CONFIRMED_SECONDS * 1000))
            pipeline.zadd(_list_key(user.id), {session.id: now})
            pipeline.pexpire(_list_key(user.id), round(self.whole_seconds * 1000))
            pipeline.execute()
        for surplus in self.of_user(user.id)[MOST_OF_A_USER:]:
            self.revoke(surplus.id, user.id)
        return cookie, session

    def find(self, cookie: str, *, is_person: bool = True) -> Session | None:
        """The session of this cookie, if it goes on. `is_person`: somebody did something, so it is not idle."""
        if not 0 < len(cookie) <= LONGEST_COOKIE:
            return None
        return self._find(id_of(cookie), is_person=is_person)

    def goes_on(self, session_id: str) -> bool:
        """Tell whether the session of this public name has not ended; that does not keep it from going idle."""
        return self._find(session_id, is_person=False) is not None

    def confirm(self, session_id: str) -> float:
        """Note that its user has shown the password again; the result is when."""
        now = self._now()
        self._store.set(_confirmed_key(session_id), repr(now), px=round(CONFIRMED_SECONDS * 1000))
        return now

    def of_user(self, user_id: str) -> list[Session]:
        """The user's sessions that go on, the one that was seen last first."""
        seen = cast("list[tuple[bytes, float]]", self._store.zrevrange(_list_key(user_id), 0, -1, withscores=True))
        if not seen:
            return []
        ids = [member.decode() for member, _ in seen]
        values = cast("list[bytes | None]", self._store.mget([_key(each) for each in ids]))
        ended = [each for each, value in zip(ids, values, strict=True) if value is None]
        if ended:
            self._store.zrem(_list_key(user_id), *ended)
        return [
            _session(value, seen_at=at, confirmed=None)
            for (_, at), value in zip(seen, values, strict=True)
            if value is not None
        ]

    def revoke(self, session_id: str, user_id: str) -> bool:
        """End this session of this user. False if there is none, or it is another user's."""
        if self._store.zscore(_list_key(user_id), session_id) is None:
            return False
        with self._store.pipeline(transaction=True) as pipeline:
            pipeline.delete(_key(session_id))
            pipeline.delete(_confirmed_key(session_id))
            pipeline.zrem(_list_key(user_id), session_id)
            ended = pipeline.execute()
        return bool(ended[0])

    def revoke_all(self, user_id: str, *, but: str | None = None) -> int:
        """End the user's sessions, all or all `but` one; the result is how many ended."""
        return sum(self.revoke(each.id, user_id) for each in self.of_user(user_id) if each.id != but)

    def _find(self, session_id: str, *, is_person: bool) -> Session | None:
        with self._store.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.get(_key(session_id))
            pipeline.get(_confirmed_key(session_id))
            clock, value, confirmed = cast("tuple[tuple[int, int], bytes | None, bytes | None]", pipeline.execute())
        if value is None:
            return None
        now = _seconds(clock)
        session = _session(value, seen_at=now, confirmed=confirmed)
        left = session.began_at + self.whole_seconds - now
        if left <= 0:
            self.revoke(session.id, session.user_id)
            return None
        if is_person:
            with self._store.pipeline(transaction=False) as pipeline:
                pipeline.pexpire(_key(session_id), self._milliseconds(min(self.idle_seconds, left)))
                pipeline.zadd(_list_key(session.user_id), {session_id: now}, xx=True)
                pipeline.execute()
        return session

    def _milliseconds(self, seconds: float) -> int:
        return max(1, round(min(seconds, self.whole_seconds) * 1000))

    def _now(self) -> float:
        return _seconds(self._store.time())


def id_of(cookie: str) -> str:
    """The public name of the session that this cookie opens."""
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()


def stamp_of(user: AdminUser) -> str:
    """What a session notes of its user's password: another one, and the session is over."""
    return "" if user.password_changed_at is None else user.password_changed_at.isoformat()


_BESIDE = frozenset({"seen_at", "confirmed_at"})


def _session(value: bytes, *, seen_at: float, confirmed: bytes | None) -> Session:
    kept: dict[str, Any] = orjson.loads(value)
    return Session(**kept, seen_at=seen_at, confirmed_at=None if confirmed is None else float(confirmed))


def _key(session_id: str) -> str:
    return f"{_PREFIX}{session_id}"


def _confirmed_key(session_id: str) -> str:
    return f"{_PREFIX}confirmed:{session_id}"


def _list_key(user_id: str) -> str:
    return f"{_PREFIX}of_user:{user_id}"


def _seconds(clock: tuple[int, int]) -> float:
    return clock[0] + clock[1] / 1_000_000
