"""What is known of a conversation that can be resumed: in whose hands it is, and which token its client has.

The key decision: a token is used up when its successor is known to have arrived, not when it is shown. A network that
drops twice, or a worker that is killed between two lines, would else leave a client with a token that is used, and
without the next one. Until then it cannot be used a second time either, unless whoever used it has been lost
(`GRACE_SECONDS` without a sign of that worker, or the connection lost).

`resume.lua` does the same for the state in Redis.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from service.errors import InvalidResumeTokenError
from service.key_limits import KeyBound

GRACE_SECONDS = 5.0
MOST_USED = 8
MAX_CONVERSATION_ID_CHARACTERS = 256
_revisions = itertools.count(1)
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes


class Verdict(StrEnum):
    """What came of showing a token, or of writing a state down."""

    OK = "ok"
    UNCONFIRMED = "unconfirmed"  # somebody has just used it
    USED = "used"
    INVALID = "invalid"
    EXPIRED = "expired"
    UNSURE = "unsure"  # not known, but Redis is new
    KEPT = "kept"
    MISSING = "missing"
    MINE = "mine"  # led by this very worker, with a higher fence
    TAKEN = "taken"
    REFUSED = "refused"  # the conversation was erased


@dataclass(frozen=True)
class ResumeFacts:
    """What another worker needs to open a leg of the conversation: `formats` and `initiation` are the caller's own.

    `bound` is that of the API key that the conversation counts for.
    """

    agent_id: str
    formats: str = ""
    initiation: bytes = field(default=b"", repr=False)
    bound: KeyBound | None = None


@dataclass(frozen=True)
class Progress:
    """How far it is: events sent, messages received that are no audio, and the highest event id."""

    sent: int = 0
    received: int = 0
    highest_id: int = 0


@dataclass(frozen=True)
class Claim:
    """A conversation that its client has come back to; `is_here`: it runs in this very worker.

    `progress` is as its owner last wrote it down: at most two seconds old if that was killed. `used`: digests of tokens
    that are used up.
    """

    conversation_id: str
    fence: int
    is_here: bool
    facts: ResumeFacts
    progress: Progress
    digest: str = field(repr=False, default="")
    used: tuple[str, ...] = field(repr=False, default=())


@dataclass(frozen=True)
class Snapshot:
    """All of it at one moment, as it is written down. A later one has a higher `revision`."""

    conversation_id: str
    fence: int
    revision: int
    good: str
    last: str
    last_good_in_seconds: float
    used: tuple[str, ...]
    lost_for_seconds: float
    progress: Progress
    facts: ResumeFacts


def new_token(conversation_id: str) -> str:
    """A token that nobody can guess."""
    return f"{conversation_id}.{secrets.token_urlsafe(32)}"


def read_token(token: str) -> tuple[str, str]:
    """The conversation's id and the token's digest.

    Raises:
        InvalidResumeTokenError: it cannot be one.
    """
    conversation_id, _, secret = token.rpartition(".")
    if not 0 < len(conversation_id) <= MAX_CONVERSATION_ID_CHARACTERS or not _SECRET.fullmatch(secret):
        raise InvalidResumeTokenError
    return conversation_id, _digest(token)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


class ResumeState:
    """The state of one conversation as its owner has it; for any thread, and without I/O."""

    def __init__(
        self,
        conversation_id: str,
        facts: ResumeFacts,
        progress: Callable[[], Progress],
        *,
        claim: Claim | None = None,
    ) -> None:
        self.conversation_id = conversation_id
        self.facts = facts
        self._progress = progress
        self._lock = threading.Lock()
        self._fence = 1 if claim is None else claim.fence
        self._good = ""
        self._last = "" if claim is None else claim.digest
        self._last_good_from: float | None = None
        self._used: deque[str] = deque(() if claim is None else claim.used, maxlen=MOST_USED)
        self._lost_at: float | None = None

    @property
    def fence(self) -> int:
        """The number of this leadership: whoever has a higher one leads the conversation."""
        return self._fence

    def issue(self) -> str:
        """The token for the next time; what was issued before and not used is good no longer."""
        token = new_token(self.conversation_id)
        with self._lock:
            self._use_up(self._good)
            self._good = _digest(token)
            self._lost_at = None
            self._last_good_from = None
        return token

    def confirm(self) -> bool:
        """The token that was issued last has arrived, so the one before is used up; whether that is news."""
        with self._lock:
            if not self._last:
                return False
            self._use_up(self._last)
            self._last = ""
            return True

    def lose_client(self) -> None:
        """The connection is lost: the time to come back begins, with either token if the last may not have arrived."""
        with self._lock:
            self._lost_at = self._last_good_from = time.monotonic()

    def show(self, digest: str) -> Verdict:
        """Use a token; with OK the fence has risen."""
        with self._lock:
            verdict = self._judge(digest)
            if verdict is Verdict.OK:
                self._adopt(self._fence + 1, digest)
            return verdict

    def _judge(self, digest: str) -> Verdict:
        if digest == self._good:
            return Verdict.OK
        if digest == self._last:
            is_free = self._last_good_from is not None and time.monotonic() >= self._last_good_from
            return Verdict.OK if is_free else Verdict.UNCONFIRMED
        return Verdict.USED if digest in self._used else Verdict.INVALID

    def adopt(self, fence: int, digest: str = "") -> None:
        """This worker has claimed it with `digest`, in Redis (if it is unknown: the answer was lost)."""
        with self._lock:
            if fence > self._fence:
                self._adopt(fence, digest or self._good)

    def _adopt(self, fence: int, digest: str) -> None:
        self._fence = fence
        for other in (self._last, self._good):
            if other != digest:
                self._use_up(other)
        self._last, self._good = digest, ""
        self._last_good_from = time.monotonic() + GRACE_SECONDS

    def _use_up(self, digest: str) -> None:
        if digest and digest not in self._used:
            self._used.append(digest)

    def snapshot(self) -> Snapshot:
        """All of it now."""
        progress = self._progress()
        with self._lock:
            now = time.monotonic()
            good_from = self._last_good_from
            return Snapshot(
                self.conversation_id,
                fence=self._fence,
                revision=next(_revisions),
                good=self._good,
                last=self._last,
                last_good_in_seconds=GRACE_SECONDS if good_from is None else max(0.0, good_from - now),
                used=tuple(self._used),
                lost_for_seconds=0.0 if self._lost_at is None else now - self._lost_at,
                progress=progress,
                facts=self.facts,
            )

    def as_claim(self, digest: str) -> Claim:
        """What a claim gets that was decided here."""
        used = tuple(self._used)
        return Claim(self.conversation_id, self._fence, True, self.facts, self._progress(), digest, used)
