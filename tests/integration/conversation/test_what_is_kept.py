"""What the real service keeps of a conversation with the sandbox's agent, also when the database is away."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from migrations import runner
from scripts.launcher.waiting import wait_until
from service.storage import Conversations, Database, open_database
from service.storage.conversation_records import ConversationFilter, EndedBy, Speaker
from tests import server_processes
from tests.conftest import StartService
from tests.integration.conversation.conftest import INITIATION
from tests.servers import RunningService

LIMIT = 20.0


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/vocero.db"
    runner.upgrade(url)
    database = open_database(url)
    yield database
    database.close()


def talk(service: RunningService, *words: str, initiation: str = INITIATION) -> str:
    """A typed conversation with the sandbox's text agent; the result is its id."""
    with connect(f"{service.ws_url}/v1/convai/conversation?agent_id=agent_text", max_size=None) as client:
        client.send(initiation)
        metadata = json.loads(client.recv(LIMIT))
        for text in words:
            client.send(json.dumps({"type": "user_message", "text": text}))
            wait_until(lambda: '"agent_response"' in str(client.recv(LIMIT)), LIMIT, "an answer")
        identity: str = metadata["conversation_initiation_metadata_event"]["conversation_id"]
        return identity


def test_a_conversation_is_found_again_with_its_words_its_leg_and_its_end(
    start_service: StartService, own_database: Database
) -> None:
    service = start_service(VOCERO_DATABASE_URL=str(own_database.engine.url))
    initiation = {"type": "conversation_initiation_client_data", "user_id": "user_seven"}
    identity = talk(service, "When are you open?", "Where are you?", initiation=json.dumps(initiation))
    conversations = Conversations(own_database)

    def has_ended() -> bool:
        found = conversations.get(identity)
        return found is not None and found.summary.ended_at is not None

    wait_until(has_ended, LIMIT, "the end is written")
    found = conversations.get(identity)
    assert found is not None
    assert (found.summary.agent_id, found.summary.user_id) == ("agent_text", "user_seven")
    assert (found.summary.ended_by, found.summary.end_code) == (EndedBy.CLIENT, 1000)
    assert [leg.provider_conversation_id for leg in found.legs] == [identity]
    said = [(one.speaker, one.text) for one in found.utterances]
    assert (Speaker.USER, "When are you open?") in said
    assert (Speaker.USER, "Where are you?") in said
    assert sum(speaker is Speaker.AGENT for speaker, _ in said) >= 2
    page = conversations.search(ConversationFilter(user_id="user_seven"))
    assert [one.id for one in page.items] == [identity]


def test_with_no_days_for_transcripts_no_word_is_kept(start_service: StartService, own_database: Database) -> None:
    service = start_service(VOCERO_DATABASE_URL=str(own_database.engine.url), VOCERO_TRANSCRIPT_DAYS="0")
    identity = talk(service, "My secret word is xylophone.")
    conversations = Conversations(own_database)
    wait_until(lambda: conversations.get(identity) is not None, LIMIT, "that it took place is written")
    service.stop()
    found = conversations.get(identity)
    assert found is not None
    assert found.utterances == ()
    assert found.summary.ended_by is not None, "what waited was written when the worker left"
    assert b"xylophone" not in Path(str(own_database.engine.url.database)).read_bytes()
    assert "xylophone" not in service.log()


def test_a_database_that_is_locked_delays_no_conversation_and_gets_it_later(
    start_service: StartService, own_database: Database
) -> None:
    service = start_service(VOCERO_DATABASE_URL=str(own_database.engine.url))
    talk(service, "First of all, hello.")  # the worker has opened its connection
    with sqlite3.connect(str(own_database.engine.url.database), isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        identity = talk(service, "When are you open?")
        assert Conversations(own_database).get(identity) is None
        other.execute("ROLLBACK")
    wait_until(lambda: Conversations(own_database).get(identity) is not None, LIMIT, "it is written")


def test_a_postgresql_that_hangs_stalls_no_conversation(
    start_service: StartService, tmp_path: Path, own_postgresql: tuple[str, int]
) -> None:
    url, pid = own_postgresql
    runner.upgrade(url)
    service = start_service(VOCERO_DATABASE_URL=url)
    talk(service, "First of all, hello.")
    database = open_database(url)
    server_processes.send(pid, signal.SIGSTOP)
    try:
        identity = talk(service, "When are you open?")
    finally:
        server_processes.send(pid, signal.SIGCONT)
    wait_until(lambda: Conversations(database).get(identity) is not None, 60, "it is written")
    database.close()
