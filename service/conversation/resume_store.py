"""The states of resumable conversations in Redis, by one script (`resume.lua`).

The key decision: whatever must be one step is one run of the script, and every run may be repeated: a question carries
a number of its own, so that the answer that was lost is given again.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from service import redis_keys
from service.conversation.resume_state import GRACE_SECONDS, Claim, Progress, ResumeFacts, Snapshot, Verdict
from service.key_limits import KeyBound
from service.redis_keys import conversation_key

MARGIN_SECONDS = 10.0
"""That a state outlives the time to come back in."""

_SINCE = redis_keys.RESUME_SINCE.prefix

Kept = tuple[Verdict, int, str]
"""What came of writing a state down; with MINE the fence that Redis has, and the digest that was claimed with."""

Call = tuple[str, tuple[Any, ...]]
"""A conversation's id, and what the script is asked."""


def new_question() -> str:
    """What names one claim, however often it is asked."""
    return secrets.token_hex(8)


class ResumeStore:
    """The states in `store`, which needs short timeouts; `owner` is this worker's name.

    Every method raises RedisError when Redis does not answer; repeating the call is safe.
    """

    def __init__(self, store: redis.Redis, *, owner: str, resume_seconds: float) -> None:
        self._store = store
        self._owner = owner
        self._lifetime = resume_seconds + MARGIN_SECONDS

    def here(self) -> None:
        """Tell that a worker is there: so Redis knows for how long it has had the states."""
        _sound(self._run([("", ("here",))])[0])

    def keep(self, snapshots: Sequence[Snapshot], *, with_facts: bool = False) -> list[Kept]:
        """Write states down; without facts a state that Redis lacks is MISSING."""
        calls = [(one.conversation_id, self._kept(one, with_facts=with_facts)) for one in snapshots]
        return [_read_kept(raw) for raw in self._run(calls)]

    def _kept(self, one: Snapshot, *, with_facts: bool) -> tuple[Any, ...]:
        facts: tuple[Any, ...] = ()
        if with_facts:
            facts = (one.facts.agent_id, one.facts.formats, one.facts.initiation, _written(one.facts.bound))
        return (
            "keep", self._owner, one.fence, one.revision, _ms(max(1.0, self._lifetime - one.lost_for_seconds)),
            one.good, one.last, _ms(one.last_good_in_seconds), ",".join(one.used),
            one.progress.sent, one.progress.received, one.progress.highest_id, *facts,
        )  # fmt: skip

    def claim(self, conversation_id: str, digest: str, question: str) -> tuple[Verdict, Claim | None]:
        """Use a token; with OK the conversation is this worker's."""
        asked = ("claim", self._owner, digest, question, _ms(GRACE_SECONDS), _ms(self._lifetime))
        raw = _sound(self._run([(conversation_id, asked)])[0])
        verdict = Verdict(raw[0].decode())
        if verdict is not Verdict.OK:
            return verdict, None
        fence, before, agent_id, formats, initiation, *numbers, used, bound = (each or b"" for each in raw[1:])
        sent, received, highest = (int(number or 0) for number in numbers)
        claim = Claim(
            conversation_id,
            fence=int(fence),
            is_here=before.decode() == self._owner,
            facts=ResumeFacts(agent_id.decode(), formats.decode(), initiation, _read_bound(bound)),
            progress=Progress(sent, received, highest),
            digest=digest,
            used=tuple(used.decode().split(",")) if used else (),
        )
        return verdict, claim

    def forget(self, ended: Sequence[tuple[str, int]]) -> None:
        """Throw states away, each by its id and our fence, unless somebody else leads the conversation by now."""
        for raw in self._run([(name, ("forget", self._owner, fence)) for name, fence in ended]):
            _sound(raw)

    # --- The script

    def _run(self, calls: Sequence[Call]) -> list[Any]:
        if not calls:
            return []
        found = self._execute(calls)
        if any(isinstance(each, redis.exceptions.NoScriptError) for each in found):
            self._store.script_load(self._text)  # this server has not seen it since it began
            found = self._execute(calls)
        return found

    def _execute(self, calls: Sequence[Call]) -> list[Any]:
        with self._store.pipeline(transaction=False) as pipeline:
            for conversation_id, arguments in calls:
                keys = [conversation_key(conversation_id, part) for part in ("resume", "refused")]
                pipeline.evalsha(self._sha, 3, *keys, _SINCE, *arguments)
            return pipeline.execute(raise_on_error=False)

    @functools.cached_property
    def _text(self) -> str:
        return Path(__file__).with_name("resume.lua").read_text()

    @functools.cached_property
    def _sha(self) -> str:
        return hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()  # which is how Redis names it


def _written(bound: KeyBound | None) -> str:
    return "" if bound is None else f"{bound.key_id} {bound.max_concurrent}"


def _read_bound(written: bytes) -> KeyBound | None:
    key_id, _, most = written.decode().partition(" ")
    return KeyBound(key_id, int(most)) if most.isdigit() else None


def _sound(raw: Any) -> Any:
    if isinstance(raw, Exception):
        raise raw
    return raw


def _read_kept(raw: Any) -> Kept:
    if isinstance(raw, redis.ResponseError) and not isinstance(raw, redis.exceptions.ConnectionError):
        return Verdict.UNSURE, 0, ""  # this one cannot be written: the others can
    verdict, *more = _sound(raw)
    fence, digest = more or (b"0", b"")
    return Verdict(verdict.decode()), int(fence), digest.decode()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
