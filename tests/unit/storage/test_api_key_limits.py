"""What keys may be used for: kept where there is a table for it; where there is none, every key may do everything."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from migrations import runner
from service.errors import SchemaError, ServiceUnavailableError
from service.storage import ApiKeyLimits, ApiKeys, ApiScope, Database, open_database
from service.storage.models import ApiKeyLimitsRow

LIMITS = ApiKeyLimits(scopes=frozenset({ApiScope.SPEECH}), max_concurrent=3, characters_per_day=5_000_000_000)


def test_the_limits_of_a_key_come_back_with_it(database: Database) -> None:
    made, key = ApiKeys(database).create("shop", limits=LIMITS)
    assert made.limits == LIMITS
    assert ApiKeys(database).verify(key) == made
    assert ApiKeys(database).list_all() == [made]


def test_a_key_that_nobody_limits_has_no_row_and_may_do_everything(database: Database) -> None:
    keys = ApiKeys(database)
    first, key = keys.create("first")
    limited, _ = keys.create("limited", limits=LIMITS)
    assert keys.verify(key) == first
    assert first.limits == ApiKeyLimits(frozenset({ApiScope.CONVERSATION, ApiScope.SPEECH}), None, None)
    assert keys.list_all() == [first, limited]
    with database.reading() as session:
        assert session.execute(text("SELECT key_id, scopes FROM api_key_limits")).all() == [(limited.id, "speech")]


def test_a_key_and_its_limits_are_looked_up_in_one_statement_and_then_remembered(database: Database) -> None:
    keys = ApiKeys(database)
    _, key = keys.create("shop", limits=LIMITS)
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    assert keys.verify(key) == keys.verify(key)
    assert len([said for said in statements if said.startswith("SELECT")]) == 1


def test_limits_are_changed_taken_away_and_given_again(database: Database) -> None:
    keys = ApiKeys(database)
    made, key = keys.create("shop", limits=LIMITS)
    for before, after in ((LIMITS, ApiKeyLimits(max_concurrent=9)), (ApiKeyLimits(max_concurrent=9), ApiKeyLimits()),
                          (ApiKeyLimits(), LIMITS)):  # fmt: skip
        assert keys.change_limits(made.id, after) == (replace(made, limits=before), replace(made, limits=after))
        assert keys.verify(key) == replace(made, limits=after)
        with database.reading() as session:
            rows = session.execute(text("SELECT count(*) FROM api_key_limits")).scalar_one()
        assert rows == (after != ApiKeyLimits())  # a key that nobody limits has no row
    with pytest.raises(ValueError, match="at least one scope"):
        keys.change_limits(made.id, ApiKeyLimits(scopes=frozenset()))
    keys.revoke(made.id)
    assert keys.change_limits(made.id, ApiKeyLimits()) is None
    assert keys.change_limits("0" * 16, ApiKeyLimits()) is None


def test_what_a_key_has_given_away_is_limited_as_the_key_is_now(database: Database) -> None:
    here, elsewhere = ApiKeys(database), ApiKeys(database)
    made, _ = here.create("shop")
    assert here.standing(made.id).key == made
    elsewhere.change_limits(made.id, LIMITS)
    here.forget()
    assert here.standing(made.id).key == replace(made, limits=LIMITS)


def test_a_scope_of_a_newer_release_opens_nothing_here(database: Database) -> None:
    made, key = ApiKeys(database).create("shop", limits=LIMITS)
    for kept, scopes in (("recordings,speech", {ApiScope.SPEECH}), ("recordings", set()), ("", set())):
        with database.writing() as session:
            row = session.get(ApiKeyLimitsRow, made.id)
            assert row is not None
            row.scopes = kept
        found = ApiKeys(database).verify(key)
        assert found is not None
        assert found.limits.scopes == scopes


def test_limits_go_with_their_key(database: Database) -> None:
    made, _ = ApiKeys(database).create("shop", limits=LIMITS)
    with database.writing() as session:
        session.execute(text("DELETE FROM api_keys WHERE id = :id"), {"id": made.id})
        assert session.execute(text("SELECT count(*) FROM api_key_limits")).scalar_one() == 0


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (ApiKeyLimits(scopes=frozenset()), "at least one scope"),
        (ApiKeyLimits(max_concurrent=0), "requests at the same time: from 1 to 100000, not 0"),
        (ApiKeyLimits(max_concurrent=100_001), "not 100001"),
        (ApiKeyLimits(characters_per_day=-1), "characters a day: from 1 to 1000000000000, not -1"),
    ],
)
def test_limits_of_no_use_are_refused(database: Database, limits: ApiKeyLimits, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ApiKeys(database).create("shop", limits=limits)
    assert ApiKeys(database).list_all() == []


def test_the_database_itself_refuses_a_limit_of_nothing(database: Database) -> None:
    made, _ = ApiKeys(database).create("shop")
    for column in ("max_concurrent", "characters_per_day"):
        with pytest.raises(IntegrityError), database.writing() as session:
            session.add(ApiKeyLimitsRow(key_id=made.id, scopes="speech", **{column: 0}))


def test_on_the_schema_without_the_table_a_limit_is_refused_and_keys_without_one_work(
    database_at_0005: Database,
) -> None:
    keys = ApiKeys(database_at_0005)
    with pytest.raises(SchemaError, match=r"need schema 0007; run: python -m migrations upgrade 0007"):
        keys.create("shop", limits=LIMITS)
    made, key = keys.create("shop")
    assert keys.verify(key) == made
    assert keys.list_all() == [made]
    assert keys.change_limits(made.id, ApiKeyLimits()) == (made, made)
    with pytest.raises(SchemaError):
        keys.change_limits(made.id, LIMITS)


def test_a_table_that_a_rollback_takes_away_under_a_running_process_is_no_failure(
    migrated_url: str, database: Database
) -> None:
    keys = ApiKeys(database)
    made, key = keys.create("shop", limits=LIMITS)
    database.close()
    runner.downgrade(migrated_url, "0006")
    with pytest.raises(SchemaError):
        keys.create("other", limits=LIMITS)
    found = keys.verify(key)
    assert found is not None
    assert (found.id, found.limits) == (made.id, ApiKeyLimits())
    assert database.revision == "0006"
    assert [key.name for key in keys.list_all()] == ["shop"]


def test_an_upgrade_under_a_running_process_lets_no_key_go_on_without_its_limits(
    empty_url: str, database_at_0005: Database
) -> None:
    in_a_worker = ApiKeys(database_at_0005)
    assert in_a_worker.list_all() == []
    runner.upgrade(empty_url)
    elsewhere = open_database(empty_url)
    made, key = ApiKeys(elsewhere).create("shop", limits=LIMITS)
    elsewhere.close()
    assert in_a_worker.verify(key) == made
    assert database_at_0005.revision == "0008"


def test_a_database_that_does_not_answer_is_no_old_schema() -> None:
    database = open_database("postgresql://nobody:hunter2@127.0.0.1:1/none")
    database.revision = "0006"
    with pytest.raises(ServiceUnavailableError):
        ApiKeys(database).verify("vocero_" + "a" * 43)
    database.close()


def test_whoever_never_checked_the_schema_finds_out_by_itself(empty_url: str) -> None:
    runner.upgrade(empty_url, "0006")
    database = open_database(empty_url)
    _, key = ApiKeys(database).create("shop", expires_at=datetime(2999, 1, 1, tzinfo=UTC))
    assert ApiKeys(database).verify(key) is not None
    assert database.revision == "0006"
    database.close()
