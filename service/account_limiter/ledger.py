"""The account's ledger in Redis: one script, one round trip, for whatever a process has to say.

The key decision: everything is one call that can be repeated. Ids are made by the process, so a call whose answer
was lost can be sent again, and what it granted is found again instead of being granted twice.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import redis

from service import redis_keys

_KEYS = ("state", "members", "deadlines", "fences", "held:1", "held:2", "held:3", "waiting:1", "waiting:2", "waiting:3")
_TIMES = ("ttl_seconds", "patience_seconds", "quiet_seconds", "settling_seconds")
MEAN_NEEDS = 3
"""Leases that must have ended before their mean length is worth telling."""


@dataclass(frozen=True)
class Terms:
    """What does not change while a process runs. `patience_seconds` is how long a silent waiter keeps its place;
    refusals within `settling_seconds` count as one; the limit rises by one after each `quiet_seconds`.
    """

    cap: int
    follows_plan: bool
    reserved_share: float
    workers: int
    max_waiting: int
    ttl_seconds: float
    patience_seconds: float
    quiet_seconds: float
    settling_seconds: float


@dataclass(frozen=True)
class Report:
    """What a process says. `released`: ids, each with the milliseconds it was held, or -1 if it never was.

    `held`: ids with their fences (0: none yet). `waiting`: ids with their places in the queue (0: none yet); with
    `may_wait` false who gets nothing at once is forgotten. `member` is the process, and empty unless `held` is all
    that it holds; `epoch` is the last one that it has heard of; `is_survivor`, that it knew one before that.
    `carries`: it went on by its static share, so what it holds is to be entered even if unknown.
    """

    released: Sequence[tuple[str, int]] = ()
    held: Sequence[tuple[str, int]] = ()
    waiting: Sequence[tuple[str, int]] = ()
    may_wait: bool = True
    member: str = ""
    epoch: int = 0
    is_survivor: bool = False
    carries: bool = False
    refused: bool = False
    maximum: int = 0


@dataclass(frozen=True)
class Account:
    """The whole account as the ledger has it: `held` and `waiting` by class, the limit in force and the plan's."""

    epoch: int
    grace_seconds: float
    limit: int
    plan: int
    learned: int
    reserved: int
    mean_seconds: float | None
    held: tuple[int, int, int]
    waiting: tuple[int, int, int]


@dataclass(frozen=True)
class Answer:
    """What it hears. `held`: the fence of each lease named, 0 if it is lost.

    `waiting`: for each waiter named its fence, or minus its position (from 1), or 0 if the queue is full; and its
    place.
    """

    account: Account
    held: Sequence[int]
    waiting: Sequence[tuple[int, int]]


class Ledger:
    """The ledger called `name`. `terms` are sent with each call, so that the newest configuration counts."""

    def __init__(self, store: redis.Redis, *, name: str, terms: Terms) -> None:
        self._store = store
        # One hash tag: in a cluster all keys are on one node, which a script needs.
        self._keys = [f"{redis_keys.LIMITER.prefix}{{{name}}}:{key}" for key in _KEYS]
        self._name = name
        said = asdict(terms)
        self._terms: dict[str, Any] = {name: value for name, value in said.items() if name not in _TIMES}
        self._terms |= {name.removesuffix("_seconds"): round(said[name] * 1000) for name in _TIMES}

    def exchange(self, report: Report) -> Answer:
        """Say `report` and hear the answer.

        Raises:
            redis.RedisError: Redis did not answer; the report may have been heard all the same.
        """
        raw = self._run({**self._terms, **_plain(report)})
        account, held, waiting = raw
        pairs = zip(waiting[::2], waiting[1::2], strict=True)
        return Answer(account=_account(account), held=held, waiting=list(pairs))

    def _run(self, ask: dict[str, Any]) -> Any:
        try:
            return self._store.evalsha(self._sha, len(_KEYS), *self._keys, orjson.dumps(ask))
        except redis.exceptions.NoScriptError:
            # This server has not seen our script since it began: it was restarted, or a replica took over, and with
            # either the last writes may be lost. EVAL says so and teaches it the script in one step, so that
            # nobody's EVALSHA comes in between; SCRIPT LOAD then keeps Redis 7.4 from forgetting what EVAL taught.
            text = self._text
            answer = self._store.eval(text, len(_KEYS), *self._keys, orjson.dumps({**ask, "restarted": True}))
            with contextlib.suppress(redis.RedisError):  # the answer is there already
                self._store.script_load(text)
            return answer

    @functools.cached_property
    def _text(self) -> str:
        # The name makes it a script of this ledger's own: another ledger's first call must not hide a restart.
        database = self._store.connection_pool.connection_kwargs.get("db", 0)
        return f"-- {self._name} {database}\n{Path(__file__).with_name('limiter.lua').read_text()}"

    @functools.cached_property
    def _sha(self) -> str:
        return hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()  # which is how Redis names it


def _plain(report: Report) -> dict[str, Any]:
    return {name: getattr(report, name) for name in Report.__dataclass_fields__}


def _account(raw: Sequence[int]) -> Account:
    epoch, grace, limit, plan, learned, reserved, mean, samples, *counts = raw
    return Account(
        epoch=epoch,
        grace_seconds=grace / 1000,
        limit=limit,
        plan=plan,
        learned=learned,
        reserved=reserved,
        mean_seconds=mean / 1000 if samples >= MEAN_NEEDS else None,
        held=(counts[0], counts[1], counts[2]),
        waiting=(counts[3], counts[4], counts[5]),
    )
