"""Signatures that let a client start a conversation with a private agent, for 15 minutes.

The key decision: they are remembered, not signed: a sandbox lives as long as its memory, and so a test can tell a
signature that is used up from one that never was.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

VALID_SECONDS = 900.0
KEPT_SIGNATURES = 10_000


@dataclass(frozen=True)
class Grant:
    """What a signature allows: to talk to that agent; once and under that id, if it names a conversation."""

    agent_id: str
    conversation_id: str | None
    expires_at: float


class Signatures:
    """The signatures that were given out; safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._grants: OrderedDict[str, Grant] = OrderedDict()

    def issue(self, agent_id: str, *, conversation_id: str | None = None) -> str:
        """Give out a signature; with a conversation's id it is good once."""
        token = f"cvtkn_{secrets.token_urlsafe(24)}"
        with self._lock:
            self._grants[token] = Grant(agent_id, conversation_id, time.monotonic() + VALID_SECONDS)
            if len(self._grants) > KEPT_SIGNATURES:
                self._grants.popitem(last=False)
        return token

    def redeem(self, token: str) -> Grant | None:
        """Return what the signature allows, or None when it is unknown, used up or too old."""
        with self._lock:
            grant = self._grants.get(token)
            if grant is None or grant.expires_at < time.monotonic():
                self._grants.pop(token, None)
                return None
            if grant.conversation_id is not None:
                del self._grants[token]
            return grant
