"""The running service, with two workers, sees to what is kept by itself: from a conversation to its last trace."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
import redis
from sqlalchemy import text, update
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from scripts.launcher.waiting import wait_until
from service.keeping.erasure import Erasure
from service.keeping.run import Run
from service.maintenance import MAINTENANCE_KEY, Maintenance
from service.pool_reports import list_reports
from service.storage import (
    ConversationCosts,
    Conversations,
    Database,
    JobRuns,
    ProviderDeletions,
    SubjectKind,
    Tombstones,
    check_schema,
    open_database,
)
from service.storage.conversation_models import ConversationRow
from service.storage.tombstone_upkeep import TombstoneUpkeep
from tests.conftest import StartService
from tests.integration.keeping.kept import counts, ids, keep
from tests.servers import RunningService, free_port

LIMIT = 30.0
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.long), "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """What differs between the two is shown below the service (`unit/storage`, the other tests of this folder)."""
    return str(request.param)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """A database that waits for its turn where the service's workers write too."""
    database = open_database(migrated_url, busy_seconds=5.0)
    check_schema(database)
    yield database
    database.close()


@pytest.fixture
def service(
    start_service: StartService, database: Database, store: redis.Redis, redis_url: str, sandbox_url: str
) -> RunningService:
    running = start_service(
        ELEVENLABS_BASE_URL=sandbox_url,
        VOCERO_DATABASE_URL=database.engine.url.render_as_string(hide_password=False),
        VOCERO_REDIS_URL=redis_url,
        VOCERO_WORKERS="2",
        VOCERO_OPS_PORT=str(free_port()),
        VOCERO_RETENTION_INTERVAL_SECONDS="1",
        VOCERO_COST_FETCH="true",
    )
    wait_until(lambda: len(list_reports(store)) == 2, LIMIT, "both workers report")
    return running


@contextmanager
def talking(service: RunningService, user_id: str) -> Iterator[tuple[ClientConnection, str]]:
    """Talk as a user to the agent that writes; the conversation's id."""
    with connect(f"{service.ws_url}/v1/convai/conversation?agent_id=agent_text", close_timeout=1) as client:
        client.send(json.dumps({"type": "conversation_initiation_client_data", "user_id": user_id}))
        metadata = json.loads(client.recv(LIMIT))["conversation_initiation_metadata_event"]
        yield client, str(metadata["conversation_id"])


def say_goodbye(client: ClientConnection) -> None:
    client.send(json.dumps({"type": "user_message", "text": "Goodbye!"}))
    with suppress(ConnectionClosed):
        while True:
            client.recv(LIMIT)


def has_drained(store: redis.Redis) -> bool:
    """Whether no conversation goes on, and nothing waits to be written."""
    return all(report.conversations + report.writes_pending == 0 for report in list_reports(store))


def metric(service: RunningService, name: str) -> float:
    with urllib.request.urlopen(f"{service.ops_url}/metrics", timeout=LIMIT) as answer:
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def order(database: Database, store: redis.Redis, kind: SubjectKind, subject: str) -> None:
    """What `scripts.erase` does."""
    erasure = Erasure(database, store, settle_seconds=0.0)
    erasure.carry_out(erasure.request(kind, subject, by="ana"), subject, Run())


def test_a_conversation_is_kept_its_cost_fetched_and_in_the_end_it_is_erased_everywhere(
    service: RunningService, database: Database, store: redis.Redis, known_there: Callable[[str], bool]
) -> None:
    with talking(service, "ana") as (client, conversation_id):
        say_goodbye(client)
    conversations, costs = Conversations(database), ConversationCosts(database)

    def is_over() -> bool:
        record = conversations.get(conversation_id)
        return record is not None and record.summary.ended_at is not None

    wait_until(is_over, LIMIT, "its end is kept")
    ago = "datetime(ended_at, '-61 seconds')" if database.is_sqlite else "ended_at - INTERVAL '61 seconds'"
    with database.writing() as session:  # a minute later
        session.execute(text(f"UPDATE conversations SET ended_at = {ago}"))
    wait_until(lambda: costs.get(conversation_id) is not None, LIMIT, "its cost is fetched")

    order(database, store, SubjectKind.USER, "ana")
    assert sum(counts(database).values()) == 0
    wait_until(lambda: not known_there(conversation_id), LIMIT, "ElevenLabs has deleted it")
    wait_until(lambda: metric(service, "vocero_provider_deletions_pending") == 0, LIMIT, "the metric tells")
    assert metric(service, "vocero_provider_deletion_failures_total") == 0
    for secret in (conversation_id, "ana"):
        erasing = [line for line in service.log().splitlines() if "job" in line or "erase" in line]
        assert not any(f'"{secret}"' in line for line in erasing)


@pytest.mark.long_on("sqlite")
def test_a_conversation_that_goes_on_is_not_kept_any_more(
    service: RunningService, database: Database, store: redis.Redis
) -> None:
    with talking(service, "ana") as (client, conversation_id):
        client.recv(LIMIT)
        wait_until(lambda: conversation_id in ids(database), LIMIT, "it is kept")
        order(database, store, SubjectKind.USER, "ana")
        say_goodbye(client)
    wait_until(lambda: has_drained(store), LIMIT, "everything is written")
    assert sum(counts(database).values()) == 0
    with database.reading() as session:
        owed = session.scalars(text("SELECT provider_conversation_id FROM provider_deletions")).all()
    assert owed == [conversation_id]


@pytest.mark.long_on("sqlite")
def test_what_is_too_old_goes_and_every_worker_tells_of_it(
    service: RunningService, database: Database, store: redis.Redis
) -> None:
    now = TombstoneUpkeep(database).now()
    keep(database, "old", at=now - HOUR)
    keep(database, "young", at=now - HOUR)
    with database.writing() as session:  # at once: a run that comes in between would delete half of it
        old = update(ConversationRow).where(ConversationRow.id == "old")
        session.execute(old.values(started_at=now - 400 * DAY))
    wait_until(lambda: ids(database) == {"young"}, LIMIT, "the old one is gone")
    last_run = "vocero_retention_last_run_timestamp_seconds"
    wait_until(lambda: metric(service, last_run) >= now.timestamp(), LIMIT, "the last run is told")
    assert metric(service, 'vocero_retention_deleted_total{kind="conversation"}') == 1
    assert metric(service, 'vocero_retention_deleted_total{kind="utterance"}') == 2


@pytest.mark.long_on("sqlite")
def test_in_a_maintenance_nobody_writes_and_afterwards_all_is_done(
    service: RunningService, database: Database, store: redis.Redis, break_deletions: Callable[..., None]
) -> None:
    store.set(MAINTENANCE_KEY, Maintenance("rollback", "ana", 0.0).as_json())
    wait_until(lambda: all(report.maintenance for report in list_reports(store)), LIMIT, "both have seen it")
    wait_until(lambda: has_drained(store), LIMIT, "nobody writes any more")
    before = JobRuns(database).list_all()
    assert all(run.lease_until is None for run in before)
    keep(database, "old", at=TombstoneUpkeep(database).now() - 400 * DAY)
    Erasure(database, store).request(SubjectKind.CONVERSATION, "old", by="ana")
    assert has_drained(store)
    assert JobRuns(database).list_all() == before
    store.delete(MAINTENANCE_KEY)
    wait_until(lambda: ids(database) == set(), LIMIT, "the old one is gone")
    assert JobRuns(database).list_all() != before


@pytest.mark.long_on("sqlite")
def test_a_service_that_starts_on_a_database_older_than_an_erasure_erases_again(
    start_service: StartService, database: Database, store: redis.Redis, redis_url: str, sandbox_url: str
) -> None:
    order(database, store, SubjectKind.USER, "ana")
    with database.writing() as session:  # as a backup from before it would have left it
        session.execute(text("DELETE FROM erasure_tombstones"))
    keep(database, "back again", at=TombstoneUpkeep(database).now() - HOUR, user_id="ana")
    start_service(
        ELEVENLABS_BASE_URL=sandbox_url,
        VOCERO_DATABASE_URL=database.engine.url.render_as_string(hide_password=False),
        VOCERO_REDIS_URL=redis_url,
        VOCERO_RETENTION_INTERVAL_SECONDS="1",
    )
    assert Tombstones(database).get(SubjectKind.USER, "ana") is not None  # before it served anybody
    wait_until(lambda: ids(database) == set(), LIMIT, "it is erased again")
    found = Tombstones(database).get(SubjectKind.USER, "ana")
    assert found is not None
    wait_until(lambda: ProviderDeletions(database).of(found)[0].confirmed_at is not None, LIMIT, "ElevenLabs confirms")
