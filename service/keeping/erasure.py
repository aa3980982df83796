"""Forgetting a conversation or a user: in the database, in Redis, and at ElevenLabs, for good.

The key decision: the order comes first and outlives everything (`Tombstones`, and its mirror in Redis). What follows
may be broken off anywhere and is simply done again: by the job until it has come to its end, and after a restore from a
backup that still has what was erased. ElevenLabs is only put on the list here (`provider_requests` asks it), and an
order counts as carried out only when its last look began so late that no writer can have missed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import redis
import structlog

from service.elevenlabs.vocabulary import PROVIDER
from service.errors import ServiceUnavailableError
from service.keeping.conversation_keys import delete_conversation_keys
from service.keeping.run import Run
from service.keeping.tombstone_mirror import TombstoneMirror
from service.storage import (
    AuditLog,
    Conversations,
    ConversationSummary,
    Database,
    SubjectKind,
    Tombstone,
    Tombstones,
    check_schema,
    subject_hash,
)
from service.storage.clock import database_now
from service.storage.erasure_scope import ErasureScope, Held
from service.storage.tombstone_upkeep import MOST_ROWS, TombstoneUpkeep

log = structlog.get_logger(__name__)

REQUESTED = "erasure.requested"
LEARNED = "erasure.learned"
SETTLE_SECONDS = 20.0
"""A transaction that looked at the orders just before one was given may commit just after what it covers was looked
for. PostgreSQL ends one that is idle for 10 s and a statement after 5 (`service.storage.database`); SQLite has one
writer at a time."""


@dataclass(frozen=True)
class Erased:
    """What went: conversations, keys in Redis (None: it does not answer), and how many `orders` came to their end.

    For each conversation of an erased user there is an order of its own.
    """

    conversations: int
    keys: int | None
    orders: int


@dataclass(frozen=True)
class Reapplied:
    """What followed from applying every order again; `learned` of them the database did not know."""

    learned: int
    erased: Erased


class _Pass:
    """One look for what some orders are about: the orders, and those that are made of a user's on the way."""

    def __init__(self, orders: Iterable[Tombstone]) -> None:
        self.orders = {(order.kind, order.hash): order for order in orders}
        self.conversations = 0

    def add(self, order: Tombstone) -> None:
        """Take a further order in, if it is one."""
        self.orders[order.kind, order.hash] = order

    def names(self, conversation_id: str) -> bool:
        """Tell whether an order names this conversation."""
        return self._named(conversation_id) is not None

    def order_about(self, held: Held) -> Tombstone | None:
        """The order that a conversation is covered by."""
        named = self._named(held.id)
        if named is not None or held.user_id is None:
            return named
        of_user = self.orders.get((SubjectKind.USER, subject_hash(SubjectKind.USER, held.user_id)))
        return of_user if of_user is not None and held.is_covered_by(of_user) else None

    def _named(self, conversation_id: str) -> Tombstone | None:
        return self.orders.get((SubjectKind.CONVERSATION, subject_hash(SubjectKind.CONVERSATION, conversation_id)))


class Erasure:
    """Erases from `database` and `store` (Redis), and puts ElevenLabs' copies on the list.

    An order is at its end when what it covers was looked for `settling` after it was given.

    Every method raises ServiceUnavailableError when the database does not answer; repeating the call is safe.
    """

    def __init__(self, database: Database, store: redis.Redis, *, settle_seconds: float = SETTLE_SECONDS) -> None:
        self._database = database
        self._store = store
        self._tombstones = Tombstones(database)
        self._conversations = Conversations(database)
        self._audit = AuditLog(database)
        self._scope = ErasureScope(database, provider=PROVIDER)
        self._upkeep = TombstoneUpkeep(database)
        self._mirror = TombstoneMirror(store)
        self.settling = timedelta(seconds=0.0 if database.is_sqlite else settle_seconds)

    # --- The order

    def request(self, kind: SubjectKind, subject: str, *, by: str) -> Tombstone:
        """Order that `subject` is erased; from now on nothing of it is kept that comes late."""
        with self._database.writing() as session:
            order = self._tombstones.add(
                kind, subject, requested_at=database_now(session), requested_by=by, within=session
            )
            self._audit.append(actor=by, action=REQUESTED, subject=order.hash, after={"kind": kind}, within=session)
        try:
            self._mirror.put([order])
        except redis.RedisError as exc:  # the job does it as soon as Redis answers
            log.warning("an order to erase is not mirrored yet", error=type(exc).__name__)
        return order

    def carry_out(self, order: Tombstone, subject: str, run: Run) -> Erased:
        """Carry out an order whose subject is known, which is quicker than to look for it."""
        began = self._upkeep.now()
        # Those that were made of it have its moment.
        made = [each for each in self._tombstones.unapplied() if each.requested_at == order.requested_at]
        pass_ = _Pass([order, *made])
        if order.kind is SubjectKind.USER:
            found = self._scope.of_user(subject)
        else:
            found = self._scope.of_conversation(subject)
            if not found:  # the provider may have what we no longer have
                self._scope.prepare(order, subject, now=began)
        self._forget(found, pass_, run)
        return self._finish(pass_, began, run)

    def carry_out_all(self, run: Run) -> Erased:
        """Carry out every order that is open."""
        began = self._upkeep.now()
        pass_ = _Pass(run.patiently(self._tombstones.unapplied))
        if pass_.orders:
            for page in self._scope.pages():
                self._forget(page, pass_, run)
                run.step()
        return self._finish(pass_, began, run)

    def forget_late(self, summary: ConversationSummary) -> None:
        """See to what ElevenLabs keeps of a conversation that was refused because it was erased before it was kept."""
        held = Held(summary.id, summary.user_id, summary.started_at)
        order = self._scope.order_about(held)
        if order is not None:
            goes_on = summary.ended_at is None
            self._scope.ask_again(order, summary.id, now=self._upkeep.now(), goes_on=goes_on)

    def _forget(self, found: Iterable[Held], pass_: _Pass, run: Run) -> None:
        """Delete those conversations that an order is about."""
        for held in found:
            order = pass_.order_about(held)
            if order is not None:
                pass_.add(run.patiently(partial(self._scope.prepare, order, held.id, now=self._upkeep.now())))
                run.patiently(partial(self._conversations.erase, held.id))
                pass_.conversations += 1
                run.step()

    def _finish(self, pass_: _Pass, began: datetime, run: Run) -> Erased:
        """Delete what lies in Redis, and note which orders have come to their end."""
        if not pass_.orders:
            return Erased(0, 0, 0)
        try:
            self._mirror.put(pass_.orders.values())
            keys = delete_conversation_keys(self._store, pass_.names)
        except redis.RedisError as exc:  # the orders stay open, and the job comes back to them
            log.warning("what was erased may still lie in Redis", error=type(exc).__name__)
            return Erased(pass_.conversations, None, 0)
        settled = [order for order in pass_.orders.values() if order.requested_at + self.settling <= began]
        done = 0
        for start in range(0, len(settled), MOST_ROWS):
            some = settled[start : start + MOST_ROWS]
            done += run.patiently(partial(self._upkeep.mark_applied, some, began))
            run.step()
        return Erased(pass_.conversations, keys, done)

    # --- The mirror

    def is_mirrored(self, since: datetime) -> bool:
        """Tell whether the database and the mirror know the same orders from `since` on; two quick questions.

        Raises:
            RedisError: Redis does not answer.
        """
        known, newest = self._upkeep.known(since), self._mirror.newest()
        if newest is not None and newest.requested_at < since:
            newest = None
        if known.newest != (None if newest is None else newest.requested_at):
            return False
        return known.count == self._mirror.count(since)

    def reconcile(self, since: datetime) -> int:
        """Have the database and the mirror know the same orders; the result is how many the database learned.

        Raises:
            RedisError: Redis does not answer.
        """
        self._mirror.drop(since)
        known = {(order.kind, order.hash): order for order in self._tombstones.list_all()}
        news = [order for order in self._mirror.read() if _is_news(order, known.get((order.kind, order.hash)))]
        learned = self._upkeep.merge(news)
        if learned:
            self._audit.append(actor="service", action=LEARNED, subject="redis", after={"orders": learned})
            log.warning("the database learned what was erased: it is older than it was", orders=learned)
        self._mirror.put(order for order in known.values() if order.requested_at >= since)
        return learned

    def learn(self, keep: timedelta) -> int:
        """As `reconcile` if need be, for orders of the last `keep`; what does not answer is left for later."""
        try:
            since = self._upkeep.now() - keep
            return 0 if self.is_mirrored(since) else self.reconcile(since)
        except (redis.RedisError, ServiceUnavailableError) as exc:  # the job does it as soon as they answer
            log.info("tombstones cannot be compared now", error=type(exc).__name__)
            return 0


def reapply_tombstones(database: Database, store: redis.Redis, *, keep: timedelta) -> Reapplied:
    """Erase again, after a restore, whatever was ordered to be erased, also what the database does not know of.

    Nobody else may write meanwhile. `keep` is how long orders are kept (VOCERO_TOMBSTONE_DAYS). ElevenLabs is not
    asked here; the service's job does that.

    Raises:
        SchemaError: the database has no place for orders: bring it to a schema of this code first.
        ServiceUnavailableError: the database does not answer.
        RedisError: Redis does not answer; without it nobody knows what else was erased.
    """
    check_schema(database)
    erasure = Erasure(database, store, settle_seconds=0.0)
    learned = erasure.reconcile(TombstoneUpkeep(database).now() - keep)
    Tombstones(database).forget_applications()
    return Reapplied(learned, erasure.carry_out_all(Run(pause_seconds=0.0)))


def _is_news(order: Tombstone, known: Tombstone | None) -> bool:
    return known is None or order.requested_at > known.requested_at
