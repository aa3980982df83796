"""How long Redis and the database take, and that they fail, as the real ones make it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis
from prometheus_client import REGISTRY
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service.errors import ServiceUnavailableError
from service.measured_redis import MeasuredRedis
from service.storage import Database, open_database
from tests.conftest import NewRedis
from tests.servers import free_port


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def by_use() -> dict[str, float]:
    uses = ("ledger", "limiter", "tickets", "overrides", "other")
    return {use: value("vocero_redis_seconds_count", use=use) for use in uses}


def grown(before: dict[str, float]) -> dict[str, float]:
    return {use: count - before[use] for use, count in by_use().items() if count != before[use]}


@pytest.fixture
def store(new_redis: NewRedis) -> Iterator[MeasuredRedis]:
    url = new_redis()
    with MeasuredRedis.from_url(url, socket_timeout=5) as client:
        yield client


def test_a_command_and_a_pipeline_and_a_script_are_one_each(store: MeasuredRedis) -> None:
    assert isinstance(store, MeasuredRedis)
    before, failed = by_use(), value("vocero_redis_errors_total")
    store.set("vocero:ticket:abc", "1")
    assert store.get("vocero:ticket:abc") == b"1"
    with store.pipeline(transaction=True) as pipeline:
        pipeline.rpush("vocero:conversation:c:events", "1")
        pipeline.rpush("vocero:conversation:c:events", "2")
        assert pipeline.execute() == [1, 2]
        assert pipeline.execute() == []
    script = store.register_script("return redis.call('SET', KEYS[1], 'x')")
    script(keys=["vocero:limiter:agents"])  # which is not there the first time: sent, loaded, sent
    script(keys=["vocero:limiter:agents"])
    assert grown(before) == {"tickets": 2, "ledger": 1, "limiter": 3, "other": 1}
    assert value("vocero_redis_errors_total") == failed


def test_a_failure_is_counted_with_the_time_that_it_took(store: MeasuredRedis) -> None:
    store.set("vocero:override:conversation", "1")
    before, failed = by_use(), value("vocero_redis_errors_total")
    with pytest.raises(ResponseError):
        store.lpush("vocero:override:conversation", "1")
    with pytest.raises(NoScriptError):
        store.evalsha("0" * 40, 1, "vocero:limiter:agents")
    away = MeasuredRedis.from_url(
        f"redis://127.0.0.1:{free_port()}/0", socket_connect_timeout=1, retry=Retry(NoBackoff(), 1)
    )
    with pytest.raises(redis.ConnectionError):
        away.ping()
    assert grown(before) == {"overrides": 1, "limiter": 1, "other": 1}
    assert value("vocero_redis_errors_total") == failed + 2


@pytest.fixture
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path_factory.mktemp('measured')}/cakes.db")
    with opened.writing() as session:
        session.execute(text("CREATE TABLE cakes (name TEXT PRIMARY KEY)"))
    yield opened
    opened.close()


def test_each_statement_is_measured(database: Database) -> None:
    before, failed = value("vocero_database_seconds_count"), value("vocero_database_errors_total")
    with database.writing() as session:
        session.execute(text("INSERT INTO cakes VALUES ('plum')"))
    with database.reading() as session:
        assert session.execute(text("SELECT name FROM cakes")).scalars().all() == ["plum"]
    assert value("vocero_database_seconds_count") == before + 4, "two of them begin a transaction"
    assert value("vocero_database_errors_total") == failed


def test_what_the_database_does_not_do_is_counted_and_a_row_that_is_there_is_no_error(database: Database) -> None:
    failed = value("vocero_database_errors_total")
    insert = text("INSERT INTO cakes VALUES ('plum')")
    with database.writing() as session:
        session.execute(insert)
    with suppress(IntegrityError), database.writing() as session:
        session.execute(insert)
    assert value("vocero_database_errors_total") == failed
    with database.writing(), pytest.raises(ServiceUnavailableError), database.writing():
        pytest.fail("two write at once")
    assert value("vocero_database_errors_total") == failed + 1
    away = open_database(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/nothing")
    with pytest.raises(ServiceUnavailableError), away.reading() as session:
        session.execute(text("SELECT 1"))
    assert value("vocero_database_errors_total") == failed + 2
    away.close()
