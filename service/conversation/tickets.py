"""Tickets: what a client shows to open a conversation, so that no key ever reaches a browser.

The key decision: a ticket is 256 random bits, and what it stands for lies in Redis under the ticket's hash. Any
worker of any node can redeem it, GETDEL makes the page's tickets single-use however many try at once, and a dump of
Redis holds no ticket that could be used. With signing keys what it stands for is signed (HMAC): then nobody can make or
change a ticket either who can only write to Redis. It is signed with each key that is in use, so that a worker which
has not heard of the newest one yet takes it too.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import redis

from service import redis_keys
from service.errors import NotAllowedError, NotAuthenticatedError, ServiceUnavailableError, TooManyRequestsError
from service.key_limits import KeyBound
from service.secret import Secret

_ONCE, _REUSABLE = "vtk1_", "vtkr_"
MAX_TICKET_CHARACTERS = 128


@dataclass(frozen=True)
class Ticket:
    """What a ticket allows: conversations with one agent, and from one web origin if `origin` is set.

    `bound` is that of the API key it was made with, which its conversations count for; `key_id` is that key's.
    """

    agent_id: str
    origin: str | None = None
    bound: KeyBound | None = None
    key_id: str | None = None


class TicketOffice:
    """Issues and redeems tickets.

    `tickets_per_minute` bounds what one client address gets for the page. `signing_keys` gives the keys that tickets
    are signed with, the newest first; unset: they are not signed.
    """

    def __init__(
        self,
        store: redis.Redis,
        *,
        tickets_per_minute: int,
        signing_keys: Callable[[], Sequence[Secret]] | None = None,
    ) -> None:
        self._store = store
        self._tickets_per_minute = tickets_per_minute
        self._signing_keys = signing_keys

    def issue(self, ticket: Ticket, *, seconds: int, single_use: bool) -> str:
        """A new ticket, good for `seconds`.

        Raises:
            ServiceUnavailableError: Redis does not answer, or there is no signing key.
        """
        token = (_ONCE if single_use else _REUSABLE) + secrets.token_urlsafe(32)
        value = orjson.dumps({**_fields(ticket), "signatures": _signatures(token, ticket, self._keys() or ())})
        try:
            self._store.set(_place(token), value, ex=seconds)
        except redis.RedisError as exc:
            raise ServiceUnavailableError("Tickets cannot be issued now; try again.", retry_after=2.0) from exc
        return token

    def redeem(self, token: str, *, agent_id: str | None, origin: str | None) -> Ticket:
        """What `token` stands for; a single-use ticket is used up by this, also when it turns out to be foreign.

        Raises:
            NotAuthenticatedError: never issued, used, or expired.
            NotAllowedError: issued for another agent or web origin.
            ServiceUnavailableError: Redis does not answer, or there is no signing key.
        """
        if len(token) > MAX_TICKET_CHARACTERS or not token.startswith((_ONCE, _REUSABLE)):
            raise NotAuthenticatedError("The conversation_signature is not one of ours.")
        keys = self._keys()  # before the ticket is used up
        try:
            raw = self._store.getdel(_place(token)) if token.startswith(_ONCE) else self._store.get(_place(token))
        except redis.RedisError as exc:
            raise ServiceUnavailableError("Tickets cannot be checked now; try again.", retry_after=2.0) from exc
        ticket = _read(token, raw, keys)
        if ticket is None:
            raise NotAuthenticatedError("The conversation_signature has expired or was used; ask for a new one.")
        if agent_id is not None and agent_id != ticket.agent_id:
            raise NotAllowedError("The conversation_signature was issued for another agent.")
        if ticket.origin is not None and origin != ticket.origin:
            raise NotAllowedError("The conversation_signature was issued for another web origin.")
        return ticket

    def _keys(self) -> Sequence[Secret] | None:
        """The keys of now, the newest first; None: tickets are not signed."""
        return None if self._signing_keys is None else self._signing_keys()

    def count(self, address: str) -> None:
        """Count a ticket for the page against the client's address.

        Raises:
            TooManyRequestsError: the address has had its share of this minute.
            ServiceUnavailableError: Redis does not answer.
        """
        key = redis_keys.TICKETS_PER_MINUTE.prefix + hashlib.sha256(address.encode()).hexdigest()[:32]
        try:
            with self._store.pipeline(transaction=True) as pipeline:
                pipeline.incr(key)
                pipeline.expire(key, 60, nx=True)
                count = pipeline.execute()[0]
        except redis.RedisError as exc:
            raise ServiceUnavailableError("Tickets cannot be issued now; try again.", retry_after=2.0) from exc
        if count > self._tickets_per_minute:
            raise TooManyRequestsError(
                f"At most {self._tickets_per_minute} conversations a minute can be started from one address.",
                retry_after=60.0,
            )


def _place(token: str) -> str:
    return redis_keys.TICKET.prefix + hashlib.sha256(token.encode()).hexdigest()


def _fields(ticket: Ticket) -> dict[str, Any]:
    """What is kept and signed; without what it has not, as in releases that know none, so that they take it too."""
    fields = asdict(ticket)
    return {name: value for name, value in fields.items() if value is not None or name not in {"bound", "key_id"}}


def _read(token: str, raw: object, keys: Sequence[Secret] | None) -> Ticket | None:
    if not isinstance(raw, bytes):
        return None
    try:
        fields = orjson.loads(raw)
        signatures = [str(signature) for signature in fields.pop("signatures", ())]
        bound = fields.pop("bound", None)
        ticket = Ticket(**fields, bound=None if bound is None else KeyBound(**bound))
        good = _signatures(token, ticket, keys or ())
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, AttributeError, TypeError):
        return None  # somebody else has written there
    if keys is None:
        return ticket
    is_ours = any(hmac.compare_digest(one.encode(), other.encode()) for one in signatures for other in good)
    return ticket if is_ours else None


def _signatures(token: str, ticket: Ticket, keys: Sequence[Secret]) -> list[str]:
    data = orjson.dumps([token, *_fields(ticket).values()])
    return [hmac.digest(key.reveal().encode(), data, "sha256").hex() for key in keys]
