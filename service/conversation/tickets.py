"""Tickets: what a client shows to open a conversation, so that no key ever reaches a browser.

The key decision: a ticket is 256 random bits, and what it stands for lies in Redis under the ticket's hash. Any
worker of any node can redeem it, GETDEL makes the page's tickets single-use however many try at once, and a dump of
Redis holds no ticket that could be used. With a signing key the hash is keyed (HMAC): then nobody can make a ticket
either who can only write to Redis.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
import redis

from service.errors import NotAllowedError, NotAuthenticatedError, ServiceUnavailableError, TooManyRequestsError
from service.secret import Secret

_ONCE, _REUSABLE = "vtk1_", "vtkr_"
_PLACE = "vocero:ticket:"
MAX_TICKET_CHARACTERS = 128


@dataclass(frozen=True)
class Ticket:
    """What a ticket allows: conversations with one agent, and from one web origin if `origin` is set."""

    agent_id: str
    origin: str | None = None


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
        value = orjson.dumps({"agent_id": ticket.agent_id, "origin": ticket.origin})
        try:
            self._store.set(self._places(token)[0], value, ex=seconds)
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
        try:
            raw = self._find(token)
        except redis.RedisError as exc:
            raise ServiceUnavailableError("Tickets cannot be checked now; try again.", retry_after=2.0) from exc
        if not isinstance(raw, bytes):
            raise NotAuthenticatedError("The conversation_signature has expired or was used; ask for a new one.")
        ticket = Ticket(**orjson.loads(raw))
        if agent_id is not None and agent_id != ticket.agent_id:
            raise NotAllowedError("The conversation_signature was issued for another agent.")
        if ticket.origin is not None and origin != ticket.origin:
            raise NotAllowedError("The conversation_signature was issued for another web origin.")
        return ticket

    def _find(self, token: str) -> object:
        fetch = self._store.getdel if token.startswith(_ONCE) else self._store.get
        # Signed with the key of before, if the key has changed since.
        return next((found for place in self._places(token) if (found := fetch(place)) is not None), None)

    def _places(self, token: str) -> list[str]:
        """Where the ticket may lie in Redis, the place for a new one first."""
        if self._signing_keys is None:
            return [_PLACE + hashlib.sha256(token.encode()).hexdigest()]
        data = token.encode()
        return [_PLACE + hmac.digest(key.reveal().encode(), data, "sha256").hex() for key in self._signing_keys()]

    def count(self, address: str) -> None:
        """Count a ticket for the page against the client's address.

        Raises:
            TooManyRequestsError: the address has had its share of this minute.
            ServiceUnavailableError: Redis does not answer.
        """
        key = "vocero:tickets_per_minute:" + hashlib.sha256(address.encode()).hexdigest()[:32]
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
