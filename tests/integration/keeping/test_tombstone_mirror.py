"""The mirror in Redis: a database that is older than an erasure learns of it again, and forgets."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import make_url

from migrations import runner
from service.errors import SchemaError
from service.keeping.erasure import LEARNED, Erasure, reapply_tombstones
from service.keeping.run import Run
from service.keeping.tombstone_mirror import KEY, TombstoneMirror
from service.storage import (
    AuditFilter,
    AuditLog,
    Database,
    SubjectKind,
    Tombstone,
    Tombstones,
    check_schema,
    open_database,
    subject_hash,
)
from service.storage.tombstone_upkeep import TombstoneUpkeep
from tests.integration.keeping.kept import NOON, ids, keep
from tests.unit.storage.conftest import create_on

CONVERSATION, USER = SubjectKind.CONVERSATION, SubjectKind.USER
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEEP = 400 * DAY
QUICK = Run(pause_seconds=0.0)


def erasing(database: Database, store: redis.Redis) -> Erasure:
    return Erasure(database, store, settle_seconds=0.0)


def erase(database: Database, store: redis.Redis, kind: SubjectKind, subject: str) -> Tombstone:
    erasure = erasing(database, store)
    order = erasure.request(kind, subject, by="ana")
    erasure.carry_out(order, subject, QUICK)
    return order


class Backup:
    """A copy of a database as it is now."""

    def __init__(self, database: Database, folder: Path) -> None:
        database.close()
        self._url = database.engine.url
        if database.is_sqlite:
            self._copy = folder / "backup.db"
            shutil.copyfile(self._url.database or "", self._copy)
        else:
            copied = create_on(self._url.render_as_string(hide_password=False), template=self._url.database or "")
            self._name = make_url(copied).database or ""

    def restore(self) -> Database:
        """The database as it was then, in the place of what it has become."""
        if self._url.get_backend_name() == "sqlite":
            path = Path(self._url.database or "")
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            shutil.copyfile(self._copy, path)
            url = str(self._url)
        else:
            url = self._url.set(database=self._name).render_as_string(hide_password=False)
        database = open_database(url)
        check_schema(database)
        return database


def test_a_database_restored_from_before_an_erasure_forgets_again(
    database: Database, store: redis.Redis, tmp_path: Path
) -> None:
    now = TombstoneUpkeep(database).now()
    keep(database, "c1", at=now - HOUR)
    keep(database, "c2", at=now - HOUR, user_id="ana")
    keep(database, "c3", at=now - HOUR, user_id="ben")
    backup = Backup(database, tmp_path)
    erase(database, store, CONVERSATION, "c1")
    erase(database, store, USER, "ana")
    database.close()
    restored = backup.restore()
    assert ids(restored) == {"c1", "c2", "c3"}
    result = reapply_tombstones(restored, store, keep=KEEP)
    assert (result.learned, result.erased.conversations, result.erased.orders) == (3, 2, 3)
    assert ids(restored) == {"c3"}
    [entry] = AuditLog(restored).search(AuditFilter(action=LEARNED)).items
    assert entry.after == '{"orders": 3}'
    assert AuditLog(restored).verify_chain().is_whole
    restored.close()


def test_a_process_that_starts_on_an_older_database_learns_of_the_orders_and_the_job_forgets(
    database: Database, store: redis.Redis, tmp_path: Path
) -> None:
    keep(database, "c1", at=TombstoneUpkeep(database).now() - HOUR)
    backup = Backup(database, tmp_path)
    erase(database, store, CONVERSATION, "c1")
    database.close()
    restored = backup.restore()
    erasure = erasing(restored, store)
    assert erasure.learn(KEEP) == 1
    assert erasure.learn(KEEP) == 0
    assert erasure.carry_out_all(QUICK).conversations == 1
    assert ids(restored) == set()
    restored.close()


def test_a_second_order_about_a_user_is_learned_where_the_first_is_known(
    database: Database, store: redis.Redis, tmp_path: Path
) -> None:
    now = TombstoneUpkeep(database).now()
    keep(database, "first", at=now - HOUR, user_id="ana")
    first = erase(database, store, USER, "ana")
    keep(database, "second", at=TombstoneUpkeep(database).now(), user_id="ana")
    backup = Backup(database, tmp_path)
    second = erase(database, store, USER, "ana")
    assert second.requested_at > first.requested_at
    database.close()
    restored = backup.restore()
    assert ids(restored) == {"second"}
    assert reapply_tombstones(restored, store, keep=KEEP).learned == 2  # the user's, and the conversation's
    assert ids(restored) == set()
    found = Tombstones(restored).get(USER, "ana")
    assert found is not None
    assert found.requested_at == second.requested_at
    restored.close()


def test_an_order_given_on_the_restored_database_does_not_hide_those_that_it_lacks(
    database: Database, store: redis.Redis, tmp_path: Path
) -> None:
    now = TombstoneUpkeep(database).now()
    keep(database, "c1", at=now - HOUR)
    backup = Backup(database, tmp_path)
    erase(database, store, CONVERSATION, "c1")
    database.close()
    restored = backup.restore()
    erase(restored, store, CONVERSATION, "another")
    assert erasing(restored, store).learn(KEEP) == 1
    restored.close()


def test_a_redis_that_has_lost_everything_is_told_again(database: Database, store: redis.Redis) -> None:
    erase(database, store, CONVERSATION, "c1")
    order = erase(database, store, USER, "ana")
    store.flushdb()
    erasure = erasing(database, store)
    since = NOON - DAY
    assert not erasure.is_mirrored(since)
    assert erasure.learn(KEEP) == 0
    assert erasure.is_mirrored(since)
    newest = TombstoneMirror(store).newest()
    assert newest is not None
    assert (newest.hash, newest.requested_at) == (order.hash, order.requested_at)


def test_nothing_of_a_subject_lies_in_the_mirror(database: Database, store: redis.Redis) -> None:
    erase(database, store, USER, "ana@example.com")
    [(member, _)] = store.zrange(KEY, 0, -1, withscores=True)
    assert member.decode() == f"user:{subject_hash(USER, 'ana@example.com')}"


def test_what_is_older_than_orders_are_kept_is_not_learned(database: Database, store: redis.Redis) -> None:
    mirror = TombstoneMirror(store)
    now = TombstoneUpkeep(database).now()
    mirror.put([Tombstone(USER, "a" * 64, now - 401 * DAY, "x"), Tombstone(USER, "b" * 64, now - 399 * DAY, "x")])
    assert erasing(database, store).learn(KEEP) == 1
    assert [order.hash for order in Tombstones(database).list_all()] == ["b" * 64]
    assert mirror.count(now - 999 * DAY) == 1


@pytest.mark.parametrize(
    "member", ["", "user", "user:", "user:short", f"ana:{'a' * 64}", f"user:{'A' * 64}", f"user:{'a' * 64}0", b"\xff"]
)
def test_what_is_no_order_is_passed_over(store: redis.Redis, member: str | bytes) -> None:
    store.zadd(KEY, {member: 1.0, f"user:{'a' * 64}": 2.0, f"user:{'b' * 64}": float("inf")})
    assert [order.hash for order in TombstoneMirror(store).read()] == ["a" * 64]


def test_thousands_of_orders_come_over_whole_and_exact(database: Database, store: redis.Redis) -> None:
    orders = [
        Tombstone(USER, f"{number:064x}", NOON + number * timedelta(microseconds=1), "x") for number in range(2500)
    ]
    mirror = TombstoneMirror(store)
    mirror.put(orders)
    assert [(order.hash, order.requested_at) for order in mirror.read()] == [
        (order.hash, order.requested_at) for order in orders
    ]
    assert erasing(database, store).reconcile(NOON) == 2500
    assert erasing(database, store).is_mirrored(NOON)


def test_without_redis_a_process_starts_all_the_same(database: Database, away: redis.Redis) -> None:
    assert erasing(database, away).learn(KEEP) == 0


def test_a_restore_without_redis_says_so(database: Database, away: redis.Redis) -> None:
    with pytest.raises(redis.RedisError):
        reapply_tombstones(database, away, keep=KEEP)


def test_a_schema_without_a_place_for_orders_is_told(empty_url: str, store: redis.Redis) -> None:
    runner.upgrade(empty_url, "0004")
    database = open_database(empty_url)
    try:
        with pytest.raises(SchemaError):
            reapply_tombstones(database, store, keep=KEEP)
    finally:
        database.close()


def test_a_young_order_is_not_overwritten_by_an_older_one(store: redis.Redis) -> None:
    mirror = TombstoneMirror(store)
    mirror.put([Tombstone(USER, "a" * 64, NOON + HOUR, "x")])
    mirror.put([Tombstone(USER, "a" * 64, NOON, "x")])
    assert [order.requested_at for order in mirror.read()] == [NOON + HOUR]
