"""Every key that Vocero writes to Redis, by namespace: what it is, and whether it may be thrown away.

The key decision: a key's prefix is taken from here and nowhere else, so a command that cleans up
(`scripts/rollback.py`) can be sure of what it leaves alone: only what is called a cache may be cleared. What is not in
the catalogue is not ours, and nobody of us touches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote


class Kind(StrEnum):
    """What would be lost with a key."""

    CACHE = "cache"  # nothing: it is computed again
    SESSION = "session"  # somebody's way in: they would have to begin anew
    LEASE = "lease"  # who holds a place: too many would be let in
    OVERRIDE = "override"  # what an operator has decided
    LEDGER = "ledger"  # what happened, and is not in the database yet
    CONTROL = "control"  # what processes tell each other


@dataclass(frozen=True)
class Namespace:
    """The keys that begin with `prefix`; one that does not end with a colon is a key of its own, whole."""

    prefix: str
    kind: Kind
    holds: str

    def has(self, key: bytes) -> bool:
        """Tell whether `key` is one of these."""
        prefix = self.prefix.encode()
        return key.startswith(prefix) if self.prefix.endswith(":") else key == prefix


TICKET = Namespace("vocero:ticket:", Kind.SESSION, "tickets that open a conversation")
TICKETS_PER_MINUTE = Namespace("vocero:tickets_per_minute:", Kind.CONTROL, "tickets that an address got this minute")
LIMITER = Namespace("vocero:limiter:", Kind.LEASE, "the account's slots at ElevenLabs")
POOL_REPORTS = Namespace("vocero:pool_reports", Kind.CONTROL, "names of the workers that report")
POOL_REPORT = Namespace("vocero:pool_report:", Kind.CONTROL, "what each worker reports")
TOMBSTONES = Namespace("vocero:tombstones", Kind.CONTROL, "what was erased, as digests, for a restored database")
MAINTENANCE = Namespace("vocero:maintenance", Kind.CONTROL, "that the service is in maintenance, and why")
CONVERSATION = Namespace("vocero:conversation:", Kind.LEDGER, "conversations that go on, event by event")
LEDGER_INDEX = Namespace("vocero:ledger:", Kind.LEDGER, "which conversations are not in the database up to their end")
RESUME_SINCE = Namespace("vocero:resume_since", Kind.CONTROL, "since when conversations that may be resumed are known")
BREAKER = Namespace("vocero:breaker:", Kind.CONTROL, "which providers are left alone, and who probes them")
OVERRIDE = Namespace("vocero:override:", Kind.OVERRIDE, "what operators have set by hand")
ORDERS = Namespace("vocero:orders", Kind.CONTROL, "what admins ask of workers, newest last")
ORDER = Namespace("vocero:order:", Kind.CONTROL, "each order of the last hour")
ORDER_ANSWERS = Namespace("vocero:order_answers:", Kind.CONTROL, "what workers have answered to it")
KEY_USE = Namespace("vocero:key_use:", Kind.LEASE, "places of API keys that may have only so many")
KEY_CHARACTERS = Namespace("vocero:key_characters:", Kind.CONTROL, "characters of API keys that have a limit, by day")
SESSION = Namespace("vocero:session:", Kind.SESSION, "who is logged in to the dashboard")
SIGN_IN = Namespace("vocero:sign_in:", Kind.CONTROL, "sign-ins to the dashboard: failed ones, and those on their way")
CACHE = Namespace("vocero:cache:", Kind.CACHE, "what is computed again when it is missing")

CATALOGUE = (
    TICKET, TICKETS_PER_MINUTE, LIMITER, POOL_REPORTS, POOL_REPORT, TOMBSTONES, MAINTENANCE, CONVERSATION,
    LEDGER_INDEX, RESUME_SINCE, BREAKER, OVERRIDE, ORDERS, ORDER, ORDER_ANSWERS, KEY_USE, KEY_CHARACTERS, SESSION,
    SIGN_IN, CACHE,
)  # fmt: skip


def namespace_of(key: bytes) -> Namespace | None:
    """The namespace that `key` is in; None if it is not ours."""
    return next((namespace for namespace in CATALOGUE if namespace.has(key)), None)


def conversation_key(conversation_id: str, part: str) -> str:
    """The key of one `part` of what lies in Redis of a conversation. Whatever the id has in it, it can be read back."""
    return f"{CONVERSATION.prefix}{quote(conversation_id, safe=_PLAIN, errors='replace')}:{part}"


def conversation_of(key: bytes) -> str:
    """The id in a key of a conversation: what follows the prefix, to the next colon, without a cluster's braces."""
    named = key[len(CONVERSATION.prefix) :].partition(b":")[0].strip(b"{}")
    return unquote(named.decode("utf-8", "replace"))


_PLAIN = " !#$&'()*+,-./;<=>?@[]^_`|~"
"""What may stand in a key as it is: all but a colon, a percent sign and braces."""
