"""Tokens that a client comes back with: who gets one, and whose conversation it opens, on whichever worker.

The key decision: the owner's memory is the truth about its conversations, and Redis is what it tells the others. So
nothing on a conversation's way waits for Redis: one thread writes down what has changed, and every two seconds all of
it, which also heals a Redis that was flushed or began anew. Only a client that comes back waits for some milliseconds,
until its next token is good at every worker (`wait_until_written`), and only a claim asks Redis, because two workers
may be shown one token at the same time; without Redis each worker decides about its own conversations, and of the
others says that the client may try again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import redis
import structlog

from service import metrics
from service.conversation.resume_state import Claim, Progress, ResumeFacts, ResumeState, Verdict, read_token
from service.conversation.resume_store import Kept, ResumeStore, new_question
from service.errors import (
    InvalidResumeTokenError,
    RequestError,
    ResumeTokenExpiredError,
    ResumeTokenUsedError,
    ServiceUnavailableError,
)
from service.metrics import ResumeOutcome

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 2.0
RETRY_SECONDS = 0.5
"""After which what Redis did not take is written down once more."""

CLAIM_SECONDS = 1.5
"""That a claim waits to see what becomes of one that came just before it, or of a Redis that is new; and for a
conversation that is not known: its worker may be unable to write it down just now, and "expired" is a last word."""

CLAIM_STEP_SECONDS, LONG_STEP_SECONDS = 0.1, 0.5
GATHER_SECONDS = 0.01
MAX_INITIATION_BYTES = 65_536
"""A longer one is not put into Redis: its conversation can be resumed on its own worker only."""

MOST_ENDED = 1_000
MOST_AT_ONCE = 25
_OPEN = {
    Verdict.UNCONFIRMED: CLAIM_STEP_SECONDS,
    Verdict.UNSURE: CLAIM_STEP_SECONDS,
    Verdict.EXPIRED: LONG_STEP_SECONDS,  # most of these are expired
}
"""What may be another answer in a moment, and after how long it is asked again."""


class Resumable:
    """A conversation that can be resumed, as its owner holds it. No method waits, but for `release` and `forget`.

    `on_taken` is called, in a thread of its own, when another worker leads the conversation.
    """

    def __init__(self, office: ResumeOffice, state: ResumeState, on_taken: Callable[[], None]) -> None:
        self._office = office
        self.state = state
        self.on_taken = on_taken
        self.is_changed = True
        self.is_over = False
        self.issued = 0
        self._is_written = threading.Event()
        self.is_kept = len(state.facts.initiation) <= MAX_INITIATION_BYTES

    def issue(self) -> str:
        """The token that the client is told now: it can come back with this one from now on."""
        token = self.state.issue()
        self._is_written.clear()
        self.issued += 1
        self.changed()
        return token

    def wait_until_written(self, timeout: float) -> None:
        """Wait until the token that was issued last lies in Redis, or cannot get there; `timeout` s at most.

        A client that knows a token which died with its worker has none at all: it has thrown the one before away.
        """
        if self.is_kept and self._office.is_heard:
            self._is_written.wait(timeout)

    def was_written(self, issued: int) -> None:
        """The state was written down as it was behind so many tokens."""
        if issued == self.issued:
            self._is_written.set()

    def confirm(self) -> None:
        """Note that the token has arrived: the client has answered something that was sent later."""
        if self.state.confirm():
            self.changed()

    def lose_client(self) -> None:
        """Note that the connection is lost: the token is good for `resume_seconds` from now on."""
        self.state.lose_client()
        self.changed()

    def changed(self) -> None:
        """Have it written down soon: the client has said something that it must not say again after a resume."""
        self.is_changed = True
        self._office.wake()

    def release(self) -> None:
        """Leave it to whichever worker the client comes to: for a worker that leaves. Waits for Redis (0.5 s)."""
        self._office.drop(self, forget=False)

    def forget(self) -> None:
        """The conversation has ended: its token is good for nothing any more. Waits for Redis (0.5 s)."""
        self._office.drop(self, forget=True)


class ResumeOffice:
    """Gives out tokens, and takes them back. `node` and `worker` together name this worker."""

    def __init__(
        self,
        store: redis.Redis,
        *,
        node: str,
        worker: str,
        resume_seconds: float,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        # The process id of a worker that has died may be another's.
        owner = f"{node}:{worker}:{secrets.token_hex(4)}"
        self._states = ResumeStore(store, owner=owner, resume_seconds=resume_seconds)
        self._heartbeat_seconds = heartbeat_seconds
        self._held: dict[str, Resumable] = {}
        self._ended: deque[tuple[str, int]] = deque(maxlen=MOST_ENDED)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._leaves = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_heard = True

    def start(self) -> None:
        """Begin to write down what is told."""
        self._thread = threading.Thread(target=self._keep_on, name="resume states", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Write everything down once more, and stop; waits `timeout` s at most."""
        self._leaves.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    # --- A conversation's owner

    def register(
        self,
        conversation_id: str,
        facts: ResumeFacts,
        *,
        progress: Callable[[], Progress],
        on_taken: Callable[[], None],
        claim: Claim | None = None,
    ) -> Resumable:
        """Hold a conversation from now on, one that was claimed if `claim` is given; asks nobody, and cannot fail.

        `progress` is called from any thread and must not wait.
        """
        resumable = Resumable(self, ResumeState(conversation_id, facts, progress, claim=claim), on_taken)
        with self._lock:
            before = self._held.get(conversation_id)
            if before is not None:
                before.is_over = True
            self._held[conversation_id] = resumable
        self.wake()
        return resumable

    def drop(self, resumable: Resumable, *, forget: bool) -> None:
        """Hold it no more (`Resumable.release` and `forget`)."""
        if not self._let_go(resumable):
            return
        try:
            if forget:
                self._states.forget([(resumable.state.conversation_id, resumable.state.fence)])
            else:
                self._write([resumable])  # if it fails, what the last heartbeat wrote down has to do
        except redis.RedisError:
            if forget:
                self._ended.append((resumable.state.conversation_id, resumable.state.fence))

    def wake(self) -> None:
        """Have the thread look now."""
        self._wake.set()

    def __len__(self) -> int:
        return len(self._held)

    # --- A client that is back

    def holds(self, token: str) -> bool:
        """Whether the conversation that `token` names is here, and so needs no further place; says nothing about the
        token.

        Raises:
            InvalidResumeTokenError: it cannot be one.
        """
        return read_token(token)[0] in self._held

    def claim(self, token: str) -> Claim:
        """Use `token`: its conversation is this worker's from now on. Waits up to 2 s.

        Raises:
            InvalidResumeTokenError: none of ours, or one that was replaced before it was used.
            ResumeTokenUsedError: it was used before.
            ResumeTokenExpiredError: its conversation is not known any more.
            ServiceUnavailableError: it cannot be told now; the same token may do in a moment.
        """
        try:
            claim = self._claim(*read_token(token))
        except RequestError as exc:
            metrics.resume_ended(_OUTCOMES.get(type(exc), ResumeOutcome.UNAVAILABLE))
            raise
        metrics.resume_ended(ResumeOutcome.HERE if claim.is_here else ResumeOutcome.TAKEN_OVER)
        return claim

    def _claim(self, conversation_id: str, digest: str) -> Claim:
        question = new_question()
        deadline = time.monotonic() + CLAIM_SECONDS
        while True:
            verdict, claim = self._ask(conversation_id, digest, question)
            if claim is not None:
                return claim
            if verdict not in _OPEN or time.monotonic() >= deadline:
                break
            if self._leaves.wait(_OPEN[verdict]):
                break
        if verdict is Verdict.INVALID:
            raise InvalidResumeTokenError
        if verdict is Verdict.USED:
            raise ResumeTokenUsedError
        if verdict is Verdict.EXPIRED:
            raise ResumeTokenExpiredError
        raise ServiceUnavailableError("The conversation cannot be resumed now; try again.", retry_after=1.0)

    def _ask(self, conversation_id: str, digest: str, question: str) -> tuple[Verdict, Claim | None]:
        held = self._held.get(conversation_id)
        try:
            verdict, claim = self._states.claim(conversation_id, digest, question)
        except redis.RedisError as exc:
            log.warning("a resume token is judged without Redis", error=type(exc).__name__)
            return (Verdict.MISSING, None) if held is None else _claim_here(held, digest, is_sure=False)
        if held is None or verdict not in {Verdict.OK, Verdict.EXPIRED, Verdict.UNSURE}:
            return verdict, _elsewhere(claim)
        if claim is None:  # Redis has lost it, or never had it
            return _claim_here(held, digest, is_sure=verdict is Verdict.EXPIRED)
        if not claim.is_here:  # another worker has led it meanwhile: what is held here is of before
            self._lose(held, is_taken=True)
            return verdict, claim
        held.state.adopt(claim.fence, digest)
        held.changed()
        return verdict, held.state.as_claim(digest)

    # --- The thread

    def _keep_on(self) -> None:
        next_beat = 0.0
        while not self._leaves.is_set():
            if self._wake.wait(max(0.0, next_beat - time.monotonic())):
                self._leaves.wait(GATHER_SECONDS)
            self._wake.clear()
            is_beat = time.monotonic() >= next_beat
            if is_beat:
                next_beat = time.monotonic() + self._heartbeat_seconds
            if self.is_heard or is_beat:  # else not before the next beat: whoever does not answer costs time
                self._try(everything=is_beat)
            if not self.is_heard:
                next_beat = min(next_beat, time.monotonic() + RETRY_SECONDS)
        self._try(everything=True)

    def _try(self, *, everything: bool) -> None:
        try:
            self._round(everything=everything)
        except redis.RedisError as exc:
            if self.is_heard:  # once, not every two seconds of an outage
                log.warning("resumable conversations are not written down", error=type(exc).__name__)
            self.is_heard = False
            with self._lock:
                held = list(self._held.values())
            for each in held:  # nobody need wait for it
                each.was_written(each.issued)
        else:
            self.is_heard = True

    def _round(self, *, everything: bool) -> None:
        with self._lock:
            due = [each for each in self._held.values() if everything or each.is_changed]
            ended = [self._ended.popleft() for _ in range(len(self._ended))]  # if that fails, they expire
        if everything:
            self._states.here()
        # In small steps: between two the other greenlets get their turn.
        for start in range(0, len(due), MOST_AT_ONCE):
            self._write(due[start : start + MOST_AT_ONCE])
        self._states.forget(ended)

    def _write(self, resumables: Sequence[Resumable]) -> None:
        written = [each for each in resumables if each.is_kept]
        for each in written:
            each.is_changed = False
        issued = [each.issued for each in written]
        try:
            missing = self._settle(written, self._states.keep([each.state.snapshot() for each in written]))
            self._settle(missing, self._states.keep([each.state.snapshot() for each in missing], with_facts=True))
        except redis.RedisError:
            for each in written:
                each.is_changed = True
            raise
        for each, number in zip(written, issued, strict=True):
            each.was_written(number)

    def _settle(self, written: Sequence[Resumable], answers: Sequence[Kept]) -> list[Resumable]:
        missing = []
        for each, (verdict, fence, digest) in zip(written, answers, strict=True):
            if verdict is Verdict.MISSING:
                missing.append(each)
            elif verdict is Verdict.MINE:
                each.state.adopt(fence, digest)
            elif verdict is Verdict.TAKEN:
                self._lose(each, is_taken=True)
            elif verdict is Verdict.REFUSED:
                self._lose(each, is_taken=False)
        return missing

    def _lose(self, resumable: Resumable, *, is_taken: bool) -> None:
        if not self._let_go(resumable):
            return
        name = resumable.state.conversation_id
        if is_taken:
            log.info("another worker leads the conversation", conversation_id=name)
            threading.Thread(target=resumable.on_taken, name="conversation taken", daemon=True).start()
        else:
            log.info("a conversation that was erased cannot be resumed", conversation_id=name)

    def _let_go(self, resumable: Resumable) -> bool:
        """Hold it no more; whether it was held."""
        name = resumable.state.conversation_id
        with self._lock:
            was_held, resumable.is_over = not resumable.is_over, True
            if self._held.get(name) is resumable:
                del self._held[name]
        return was_held


def _elsewhere(claim: Claim | None) -> Claim | None:
    """A claim of a conversation that is not held here, whoever Redis says has led it."""
    return None if claim is None else replace(claim, is_here=False)  # this worker has let go of it, if it led it


def _claim_here(held: Resumable, digest: str, *, is_sure: bool) -> tuple[Verdict, Claim | None]:
    """Decide without Redis; unless that `is_sure`, another worker may have given out tokens meanwhile."""
    verdict = held.state.show(digest)
    if verdict is not Verdict.OK:
        return (Verdict.UNSURE if verdict is Verdict.INVALID and not is_sure else verdict), None
    held.changed()
    return verdict, held.state.as_claim(digest)


_OUTCOMES = {
    InvalidResumeTokenError: ResumeOutcome.INVALID,
    ResumeTokenUsedError: ResumeOutcome.USED,
    ResumeTokenExpiredError: ResumeOutcome.EXPIRED,
}
