"""API keys: shown once, recognised by digest, ended by time or by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from service.errors import ServiceUnavailableError
from service.storage import ApiKeys, Database, open_database
from tests.servers import free_port


def test_a_new_key_is_recognised_and_only_its_digest_is_kept(database: Database) -> None:
    keys = ApiKeys(database)
    made, key = keys.create("shop")
    assert key.startswith("vocero_")
    assert len(key) == len("vocero_") + 43  # 256 bits in base64
    assert made.last_characters == key[-4:]
    assert keys.verify(key) == made
    with database.reading() as session:
        row = session.execute(text("SELECT * FROM api_keys")).one()
    assert key not in str(row)
    assert key.removeprefix("vocero_") not in str(row)


def test_two_keys_with_one_name_are_two_keys(database: Database) -> None:
    keys = ApiKeys(database)
    first, first_key = keys.create("shop")
    second, second_key = keys.create("shop")
    assert first_key != second_key
    assert keys.verify(first_key) == first
    assert keys.verify(second_key) == second
    assert [key.id for key in keys.list_all()] == [first.id, second.id]


@pytest.mark.parametrize(
    "wrong", ["", "vocero_", "vocero_x", "sk_something", "vocero_" + "a" * 43, "vocero_\ud800", "\0"]
)
def test_an_unknown_key_is_refused(database: Database, wrong: str) -> None:
    ApiKeys(database).create("shop")
    assert ApiKeys(database).verify(wrong) is None


def test_an_endless_key_is_refused_without_asking_the_database(database: Database) -> None:
    database.close()
    with database.writing() as session:
        session.execute(text("ALTER TABLE api_keys RENAME TO gone"))
    assert ApiKeys(database).verify("vocero_" + "a" * 10_000_000) is None


def test_a_key_with_another_last_character_is_refused(database: Database) -> None:
    _, key = ApiKeys(database).create("shop")
    assert ApiKeys(database).verify(key[:-1] + ("A" if key[-1] != "A" else "B")) is None


def test_an_expired_key_is_refused(database: Database) -> None:
    keys = ApiKeys(database)
    now = datetime.now(UTC)
    _, over = keys.create("over", expires_at=now - timedelta(seconds=1))
    good, running = keys.create("running", expires_at=now + timedelta(hours=1))
    assert keys.verify(over) is None
    assert keys.verify(running) == good


def test_a_revoked_key_is_refused_for_good_and_its_first_revocation_stands(database: Database) -> None:
    keys = ApiKeys(database)
    made, key = keys.create("shop")
    assert keys.revoke(made.id)
    first = keys.list_all()[0].revoked_at
    assert keys.verify(key) is None
    assert keys.revoke(made.id)
    assert keys.list_all()[0].revoked_at == first


def test_revoking_an_unknown_key_says_so(database: Database) -> None:
    assert not ApiKeys(database).revoke("nothing")


def test_times_come_back_with_their_zone_and_are_the_same_moment(database: Database) -> None:
    here = datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=-5)))
    ApiKeys(database).create("shop", expires_at=here)
    found = ApiKeys(database).list_all()[0].expires_at
    assert found == here
    assert found is not None
    assert found.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="without a time zone"):
        ApiKeys(database).create("shop", expires_at=datetime(2026, 1, 1))  # noqa: DTZ001
    assert ApiKeys(database).list_all() == []


@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
def test_a_name_of_no_use_is_refused(database: Database, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 200 characters"):
        ApiKeys(database).create(name)


def test_a_key_comes_and_ends_with_what_must_come_with_it_or_not_at_all(database: Database) -> None:
    keys = ApiKeys(database)
    kept, key = keys.create("kept")
    with pytest.raises(ZeroDivisionError), database.writing() as session:
        keys.create("never", within=session)
        keys.revoke(kept.id, within=session)
        raise ZeroDivisionError
    assert keys.list_all() == [kept]
    assert keys.verify(key) == kept


def test_what_another_process_has_revoked_is_refused_at_once_when_keys_are_forgotten(database: Database) -> None:
    here, elsewhere = ApiKeys(database), ApiKeys(database)
    made, key = here.create("shop")
    assert here.verify(key) == made
    elsewhere.revoke(made.id)
    assert here.verify(key) == made  # as it was remembered
    here.forget()
    assert here.verify(key) is None


def test_what_a_key_has_given_away_is_good_for_as_long_as_the_key(database: Database) -> None:
    here, elsewhere = ApiKeys(database), ApiKeys(database)
    made, _ = here.create("shop")
    expired, _ = here.create("market", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert here.standing(made.id).is_good
    assert not here.standing(expired.id).is_good
    assert not here.standing("0" * 16).is_good
    elsewhere.revoke(made.id)
    assert here.standing(made.id).is_good  # as it was remembered
    here.forget()
    assert not here.standing(made.id).is_good


def test_without_the_database_what_a_key_has_given_away_is_good() -> None:
    """Unlike the key itself: it was good minutes ago, and people are waiting."""
    nowhere = open_database(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/vocero")
    try:
        keys = ApiKeys(nowhere)
        with pytest.raises(ServiceUnavailableError):
            keys.verify("vocero_" + "a" * 43)
        assert keys.standing("0" * 16).is_good
    finally:
        nowhere.close()
