"""The audit: entries that nobody changes, a chain that shows it, and the one way in which old ones go."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from service.errors import RequestError
from service.storage import AdminRole, AdminUsers, AuditEntry, AuditFilter, AuditLog, Database, open_database
from service.storage.admin_models import AuditEntryRow
from service.storage.audit_chain import GENESIS, PRUNED, entry_hash
from service.storage.values import values_of


def append_some(audit: AuditLog, number: int) -> list[AuditEntry]:
    return [audit.append(actor="ana", action="override.set", subject=f"speech {n}") for n in range(number)]


def write_old(database: Database, ages_in_days: list[float], action: str = "key.revoke") -> list[AuditEntry]:
    """Entries of these ages, linked as `append` links them."""
    entries: list[AuditEntry] = []
    for number, age in enumerate(ages_in_days, start=1):
        at = datetime.now(UTC) - timedelta(days=age)
        previous = entries[-1].hash if entries else GENESIS
        draft = AuditEntry(number, at, "ana", action, f"key {number}", None, None, None, None, previous, "")
        entries.append(AuditEntry(**{**values_of(draft), "hash": entry_hash(draft)}))
    with database.writing() as session:
        for entry in entries:
            session.add(AuditEntryRow(**values_of(entry)))
            session.flush()
    return entries


def execute(database: Database, statement: str, **parameters: object) -> None:
    with database.writing() as session:
        session.execute(text(statement), parameters)


def execute_unguarded(database: Database, statement: str) -> None:
    """Do what an attacker with every right does: switch the triggers off first."""
    with database.writing() as session:
        if database.is_sqlite:
            found = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_entries'"
            for name in session.scalars(text(found)).all():
                session.execute(text(f"DROP TRIGGER {name}"))
        else:
            session.execute(text("ALTER TABLE audit_entries DISABLE TRIGGER USER"))
        session.execute(text(statement))


def test_entries_are_chained_and_read_back_newest_first(database: Database) -> None:
    audit = AuditLog(database)
    first = audit.append(
        actor="ana",
        action="override.set",
        subject="speech",
        before={"mode": "auto"},
        after={"mode": "disabled", "reason": "¿por qué?"},
        address="203.0.113.7",
        request_id="r1",
    )
    second = audit.append(actor="ben", action="key.revoke", subject="key 7")
    assert (first.sequence, second.sequence) == (1, 2)
    assert (first.previous_hash, second.previous_hash) == (GENESIS, first.hash)
    assert audit.search(AuditFilter()).items == (second, first)
    assert json.loads(first.after or "") == {"mode": "disabled", "reason": "¿por qué?"}


def test_the_hash_is_that_of_a_text_which_anybody_can_put_together() -> None:
    entry = AuditEntry(
        1, datetime(2026, 3, 1, 12, tzinfo=UTC), "añ", "a", "s", None, '{"x": 1}', None, None, GENESIS, ""
    )
    line = '[1,"2026-03-01T12:00:00.000000+00:00","a\\u00f1","a","s",null,"{\\"x\\": 1}",null,null,"' + GENESIS + '"]'
    assert entry_hash(entry) == hashlib.sha256(line.encode()).hexdigest()


def test_the_chain_of_what_was_written_is_whole(database: Database) -> None:
    audit = AuditLog(database)
    assert audit.verify_chain().is_whole
    last = append_some(audit, 3)[-1]
    audit.append(actor="\0", action="x" * 500, subject="\ud800" * 400, address="a" * 99, request_id="r" * 999)
    report = audit.verify_chain()
    assert report.is_whole
    assert (report.entries, report.first_sequence, report.last_sequence) == (4, 1, 4)
    assert last.hash != report.last_hash == audit.search(AuditFilter()).items[0].hash


def test_a_chain_longer_than_a_batch_is_whole(database: Database) -> None:
    write_old(database, [1.0] * 450)
    assert AuditLog(database).verify_chain().entries == 450
    assert AuditLog(database).verify_chain().is_whole


def test_many_that_append_at_once_make_one_chain(migrated_url: str) -> None:
    database = open_database(migrated_url, busy_seconds=20)
    audit = AuditLog(database)
    threads = [threading.Thread(target=append_some, args=(audit, 10)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    report = audit.verify_chain()
    database.close()
    assert report.is_whole
    assert (report.entries, report.last_sequence) == (40, 40)


def test_an_entry_is_kept_if_the_change_is_and_only_then(database: Database) -> None:
    audit, users = AuditLog(database), AdminUsers(database)
    with pytest.raises(RuntimeError, match="on purpose"), database.writing() as session:
        users.create("ana", AdminRole.ADMIN, within=session)
        audit.append(actor="root", action="user.create", subject="ana", within=session)
        raise RuntimeError("on purpose")
    assert users.list_all() == []
    assert audit.search(AuditFilter()).items == ()
    with database.writing() as session:
        users.create("ana", AdminRole.ADMIN, within=session)
        audit.append(actor="root", action="user.create", subject="ana", within=session)
    assert len(users.list_all()) == len(audit.search(AuditFilter()).items) == 1
    assert audit.verify_chain().is_whole


@pytest.mark.parametrize("value", [{"x": object()}, {"x": "y" * 20_000}, {"x": float("nan")}])
def test_what_is_no_json_of_a_sensible_size_is_refused(database: Database, value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        AuditLog(database).append(actor="ana", action="a", subject="s", after=value)
    assert AuditLog(database).search(AuditFilter()).items == ()


def test_entries_are_found_by_each_filter_a_page_at_a_time(database: Database) -> None:
    audit = AuditLog(database)
    append_some(audit, 5)
    ben = audit.append(actor="ben", action="key.revoke", subject="key 7")
    assert audit.search(AuditFilter(actor="ben")).items == (ben,)
    assert audit.search(AuditFilter(action="key.revoke")).items == (ben,)
    assert audit.search(AuditFilter(subject="key 7")).items == (ben,)
    assert audit.search(AuditFilter(since=ben.at)).items[0] == ben
    assert ben not in audit.search(AuditFilter(until=ben.at)).items
    page = audit.search(AuditFilter(), limit=4)
    assert [entry.sequence for entry in page.items] == [6, 5, 4, 3]
    page = audit.search(AuditFilter(), limit=4, cursor=page.next_cursor)
    assert [entry.sequence for entry in page.items] == [2, 1]
    assert page.next_cursor is None
    for cursor in ("x", "-1", "", "9" * 30, "²"):
        with pytest.raises(RequestError):
            audit.search(AuditFilter(), cursor=cursor)


# --- What the database refuses ---------------------------------------------------------------------------------------

CHANGES = [
    "UPDATE audit_entries SET actor = 'nobody'",
    "UPDATE audit_entries SET actor = 'nobody' WHERE sequence = 2",
    "DELETE FROM audit_entries",
    "DELETE FROM audit_entries WHERE sequence = 3",
    "DELETE FROM audit_entries WHERE sequence = 1",
]
CHANGES_OF_ONE_KIND = {
    "sqlite": [
        "UPDATE OR REPLACE audit_entries SET sequence = 2 WHERE sequence = 1",
        (
            "REPLACE INTO audit_entries SELECT 1, at, 'nobody', action, subject, before, after, address, request_id,"
            " previous_hash, hash FROM audit_entries WHERE sequence = 1"
        ),
        (
            "INSERT INTO audit_entries SELECT * FROM audit_entries WHERE sequence = 1"
            " ON CONFLICT (sequence) DO UPDATE SET actor = 'nobody'"
        ),
    ],
    "postgresql": [
        "UPDATE audit_entries SET actor = 'nobody' WHERE false",
        "TRUNCATE audit_entries",
        "TRUNCATE audit_entries CASCADE",
        (
            "INSERT INTO audit_entries SELECT * FROM audit_entries WHERE sequence = 1"
            " ON CONFLICT (sequence) DO UPDATE SET actor = 'nobody'"
        ),
        "SELECT prune_audit_entries(2, 100)",
        (
            "MERGE INTO audit_entries a USING (SELECT 1 AS one) o ON a.sequence = o.one"
            " WHEN MATCHED THEN UPDATE SET actor = 'nobody'"
        ),
    ],
}


@pytest.mark.parametrize("age", [0.0, 400.0])
def test_every_change_of_an_entry_is_refused_whoever_is_connected(kind: str, database: Database, age: float) -> None:
    entries = write_old(database, [age] * 3)
    for statement in [*CHANGES, *CHANGES_OF_ONE_KIND[kind]]:
        with pytest.raises(IntegrityError):
            execute(database, statement)
    assert list(AuditLog(database).search(AuditFilter()).items) == entries[::-1]


def test_a_recorded_pruning_opens_the_way_for_old_entries_only(database: Database) -> None:
    """A record that lies does not let the younger ones go."""
    write_old(database, [400.0, 1.0])
    AuditLog(database).append(actor="eve", action=PRUNED, subject="2")
    delete = (
        "DELETE FROM audit_entries WHERE sequence <= 2" if database.is_sqlite else "SELECT prune_audit_entries(2, 9)"
    )
    with pytest.raises(IntegrityError, match="younger than 30 days"):
        execute(database, delete)
    assert len(AuditLog(database).search(AuditFilter()).items) == 3


def test_the_way_that_a_pruning_opened_is_shut_again_behind_it(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite's triggers know no way that is open for a time")
    write_old(database, [400.0, 400.0, 1.0])
    AuditLog(database).append(actor="eve", action=PRUNED, subject="1")
    with pytest.raises(IntegrityError, match="refused: DELETE"), database.writing() as session:
        session.execute(text("SELECT prune_audit_entries(1, 9)"))
        session.execute(text("DELETE FROM audit_entries WHERE sequence = 2"))


# --- What the chain shows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attack", "broken_at", "problem"),
    [
        ("UPDATE audit_entries SET actor = 'nobody' WHERE sequence = 3", 3, "was changed"),
        ("UPDATE audit_entries SET after = '{}' WHERE sequence = 3", 3, "was changed"),
        ("UPDATE audit_entries SET hash = previous_hash WHERE sequence = 2", 2, "was changed"),
        ("DELETE FROM audit_entries WHERE sequence = 3", 4, "missing: 3 to 3"),
        ("DELETE FROM audit_entries WHERE sequence IN (2, 3)", 4, "missing: 2 to 3"),
        ("DELETE FROM audit_entries WHERE sequence <= 2", 3, "no entry records that they were pruned: 1 to 2"),
    ],
)
def test_a_change_that_got_past_the_triggers_is_found(
    database: Database, attack: str, broken_at: int, problem: str
) -> None:
    append_some(AuditLog(database), 5)
    execute_unguarded(database, attack)
    report = AuditLog(database).verify_chain()
    assert not report.is_whole
    assert report.broken_at == broken_at
    assert problem in (report.problem or "")


def test_an_entry_that_was_replaced_with_a_hash_of_its_own_is_found_at_the_next_one(database: Database) -> None:
    entries = append_some(AuditLog(database), 3)
    forged = AuditEntry(**{**values_of(entries[1]), "actor": "nobody"})
    execute_unguarded(database, "DELETE FROM audit_entries WHERE sequence >= 2")
    with database.writing() as session:
        for entry in (AuditEntry(**{**values_of(forged), "hash": entry_hash(forged)}), entries[2]):
            session.add(AuditEntryRow(**values_of(entry)))
            session.flush()
    report = AuditLog(database).verify_chain()
    assert (report.broken_at, report.entries) == (3, 2)
    assert "replaced" in (report.problem or "")


def test_a_first_entry_with_something_before_it_is_found(database: Database) -> None:
    draft = AuditEntry(1, datetime.now(UTC), "ana", "a", "s", None, None, None, None, "f" * 64, "")
    with database.writing() as session:
        session.add(AuditEntryRow(**{**values_of(draft), "hash": entry_hash(draft)}))
    assert AuditLog(database).verify_chain().broken_at == 1


# --- How old entries go ----------------------------------------------------------------------------------------------


def test_pruning_deletes_the_old_ones_and_leaves_a_whole_chain(database: Database) -> None:
    write_old(database, [400.0] * 250 + [100.0] * 3)
    audit = AuditLog(database)
    assert audit.prune(datetime.now(UTC) - timedelta(days=365), actor="retention") == 250
    report = audit.verify_chain()
    assert report.is_whole
    assert (report.first_sequence, report.last_sequence, report.entries) == (251, 254, 4)
    record = audit.search(AuditFilter(action=PRUNED)).items[0]
    assert (record.subject, record.actor) == ("250", "retention")


def test_pruning_again_and_again_leaves_a_whole_chain(database: Database) -> None:
    write_old(database, [500.0] * 2 + [400.0] * 2 + [300.0] * 2 + [1.0])
    audit = AuditLog(database)
    deleted = [audit.prune(datetime.now(UTC) - timedelta(days=days), actor="r") for days in (450, 450, 365, 200, 31)]
    assert deleted == [2, 0, 2, 2, 0]
    assert audit.verify_chain().is_whole
    assert len(audit.search(AuditFilter(action=PRUNED)).items) == 3


def test_pruning_an_audit_without_old_entries_writes_nothing(database: Database) -> None:
    audit = AuditLog(database)
    assert audit.prune(datetime.now(UTC) - timedelta(days=365), actor="r") == 0
    write_old(database, [10.0])
    assert audit.prune(datetime.now(UTC) - timedelta(days=365), actor="r") == 0
    assert len(audit.search(AuditFilter()).items) == 1


def test_old_records_of_prunings_alone_are_no_reason_for_another(database: Database) -> None:
    write_old(database, [400.0] * 2, action=PRUNED)
    audit = AuditLog(database)
    assert audit.prune(datetime.now(UTC) - timedelta(days=365), actor="r") == 0
    assert len(audit.search(AuditFilter()).items) == 2


def test_everything_may_be_old(database: Database) -> None:
    write_old(database, [400.0] * 3)
    assert AuditLog(database).prune(datetime.now(UTC) - timedelta(days=365), actor="r") == 3
    assert AuditLog(database).verify_chain().is_whole


def test_an_old_entry_behind_a_young_one_stays(database: Database) -> None:
    """A clock that was set back: only what is older than everything behind it goes."""
    write_old(database, [400.0, 10.0, 400.0])
    assert AuditLog(database).prune(datetime.now(UTC) - timedelta(days=365), actor="r") == 1
    assert AuditLog(database).verify_chain().entries == 3


def test_entries_of_the_last_thirty_days_cannot_be_pruned(database: Database) -> None:
    with pytest.raises(ValueError, match="30 days at least"):
        AuditLog(database).prune(datetime.now(UTC) - timedelta(days=29), actor="r")


def test_a_pruning_that_was_broken_off_leaves_a_whole_chain_and_is_gone_on_with(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_old(database, [400.0] * 5 + [1.0])
    audit = AuditLog(database)
    monkeypatch.setattr("service.storage.audit_log._delete", _deletes_two_and_dies)
    with pytest.raises(RuntimeError, match="on purpose"):
        audit.prune(datetime.now(UTC) - timedelta(days=365), actor="r")
    monkeypatch.undo()
    assert audit.verify_chain().is_whole, "with the record written and nothing deleted"
    delete = (
        "DELETE FROM audit_entries WHERE sequence <= 2" if database.is_sqlite else "SELECT prune_audit_entries(5, 2)"
    )
    execute(database, delete)
    report = audit.verify_chain()
    assert (report.is_whole, report.first_sequence) == (True, 3)
    assert audit.prune(datetime.now(UTC) - timedelta(days=365), actor="r") == 3
    report = audit.verify_chain()
    assert (report.is_whole, report.first_sequence) == (True, 6)
    assert len(audit.search(AuditFilter(action=PRUNED)).items) == 1


def _deletes_two_and_dies(*_: object) -> int:
    raise RuntimeError("on purpose")


def test_a_pruning_whose_record_has_another_hash_is_found(database: Database) -> None:
    write_old(database, [400.0] * 2 + [1.0])
    AuditLog(database).append(actor="eve", action=PRUNED, subject="2", after={"hash": "f" * 64})
    report = AuditLog(database).verify_chain()
    assert (report.broken_at, "records another hash" in (report.problem or "")) == (2, True)
    delete = (
        "DELETE FROM audit_entries WHERE sequence <= 2" if database.is_sqlite else "SELECT prune_audit_entries(2, 9)"
    )
    execute(database, delete)
    report = AuditLog(database).verify_chain()
    assert (report.broken_at, "pruned with another hash" in (report.problem or "")) == (3, True)


def test_a_record_of_a_pruning_that_says_nothing_stops_no_verification(database: Database) -> None:
    audit = AuditLog(database)
    for subject in ("everything", "²", "-1", "9" * 200, "1.5"):
        audit.append(actor="eve", action=PRUNED, subject=subject, after={"hash": 7})
    assert audit.verify_chain().is_whole
    assert audit.verify_chain().entries == 5


def test_an_audit_that_the_database_cannot_read_is_an_error_and_not_a_whole_chain(database: Database) -> None:
    execute(database, "DROP TABLE audit_entries" + ("" if database.is_sqlite else " CASCADE"))
    with pytest.raises((DBAPIError, RequestError)):
        AuditLog(database).verify_chain()
