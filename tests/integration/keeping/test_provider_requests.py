"""What ElevenLabs has to delete is asked for until it confirms, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta

import pytest
import redis
import requests
from sqlalchemy import text

from service import metrics
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.keeping.erasure import Erasure
from service.keeping.provider_requests import (
    BASE_SECONDS,
    FAILURES_IN_A_ROW,
    LONGEST_DELAY_SECONDS,
    Asked,
    ProviderRequests,
)
from service.keeping.run import Run
from service.storage import Database, ProviderDeletion, ProviderDeletions, SubjectKind, Tombstone, open_database
from service.storage.tombstone_upkeep import TombstoneUpkeep
from tests.integration.keeping.conftest import Break, Talk
from tests.integration.keeping.kept import keep
from tests.integration.sandbox_agents.caller import LIMIT
from tests.keys import one_key
from tests.servers import free_port

CONVERSATION = SubjectKind.CONVERSATION
HOUR = timedelta(hours=1)
QUICK = Run(pause_seconds=0.0)
Erase = Callable[[str], Tombstone]


@pytest.fixture
def erase(database: Database, store: redis.Redis) -> Erase:
    """Erase a conversation that was kept an hour ago."""
    erasure = Erasure(database, store, settle_seconds=0.0)

    def one(conversation_id: str) -> Tombstone:
        keep(database, conversation_id, at=TombstoneUpkeep(database).now() - HOUR)
        order = erasure.request(CONVERSATION, conversation_id, by="ana")
        erasure.carry_out(order, conversation_id, QUICK)
        return order

    return one


def asking(database: Database, elevenlabs: ElevenLabsService, *, at: datetime | None = None) -> ProviderRequests:
    """Whoever asks, with the longest delays there are."""
    return ProviderRequests(
        database, elevenlabs, now=(lambda: at) if at is not None else None, uniform=lambda _, most: most
    )


def only(database: Database, order: Tombstone) -> ProviderDeletion:
    [deletion] = ProviderDeletions(database).of(order)
    return deletion


def failures() -> float:
    [family] = metrics.PROVIDER_DELETION_FAILURES.collect()
    return next(sample.value for sample in family.samples if sample.name.endswith("_total"))


def test_what_was_erased_here_is_deleted_there(
    database: Database, elevenlabs: ElevenLabsService, erase: Erase, talk: Talk, known_there: Callable[[str], bool]
) -> None:
    conversation_id = talk()
    order = erase(conversation_id)
    assert known_there(conversation_id)
    assert asking(database, elevenlabs).ask_all(QUICK) == Asked(confirmed=1, failed=0)
    assert not known_there(conversation_id)
    assert only(database, order).confirmed_at is not None
    assert asking(database, elevenlabs).ask_all(QUICK) == Asked(0, 0)


def test_what_is_not_there_any_more_is_confirmed(
    database: Database, elevenlabs: ElevenLabsService, erase: Erase
) -> None:
    order = erase("conv_that_never_was")
    assert asking(database, elevenlabs).ask_all(QUICK) == Asked(1, 0)
    assert only(database, order).last_error is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 500}, "UpstreamUnavailableError 500"),
        ({"code": "system_busy"}, "UpstreamBusyError 429"),
        ({"code": "concurrent_limit_exceeded"}, "UpstreamConcurrencyError 429"),
        ({"code": "invalid_api_key"}, "UpstreamKeyError 401"),
        ({"code": "forbidden"}, "UpstreamPolicyError 403"),
        ({"status": 404, "body": {"detail": "Not Found"}}, "UpstreamProtocolError"),
        ({"status": 404, "body": "<html>nginx</html>"}, "UpstreamProtocolError"),
        ({"hang": 5}, "UpstreamTimeoutError"),
        ({"drop_after_bytes": 1}, "UpstreamProtocolError"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_failure_is_noted_and_asked_for_again_until_it_is_confirmed(
    database: Database,
    elevenlabs: ElevenLabsService,
    erase: Erase,
    talk: Talk,
    break_deletions: Break,
    known_there: Callable[[str], bool],
    fault: dict[str, object],
    error: str,
) -> None:
    conversation_id, before = talk(), failures()
    order = erase(conversation_id)
    break_deletions(**fault, times=1)
    began = TombstoneUpkeep(database).now()
    assert asking(database, elevenlabs).ask_all(QUICK) == Asked(0, 1)
    noted = only(database, order)
    assert (noted.attempts, noted.last_error, noted.confirmed_at) == (1, error, None)
    assert timedelta(0) <= noted.next_attempt_at - began - timedelta(seconds=BASE_SECONDS) < timedelta(seconds=20)
    assert failures() == before + 1
    assert asking(database, elevenlabs).ask_all(QUICK) == Asked(0, 0)  # it is not due
    assert asking(database, elevenlabs, at=noted.next_attempt_at).ask_all(QUICK) == Asked(1, 0)
    assert not known_there(conversation_id)


def test_it_is_confirmed_later_by_another_process(
    database: Database,
    elevenlabs: ElevenLabsService,
    sandbox_url: str,
    erase: Erase,
    talk: Talk,
    break_deletions: Break,
    stack: ExitStack,
    known_there: Callable[[str], bool],
) -> None:
    conversation_id = talk()
    order = erase(conversation_id)
    break_deletions(status=503, times=1)
    asking(database, elevenlabs).ask_all(QUICK)
    database.close()
    elevenlabs.close()
    restarted = open_database(database.engine.url.render_as_string(hide_password=False))
    stack.callback(restarted.close)
    again = stack.enter_context(ElevenLabsService(sandbox_url, keys=one_key()))
    due_at = only(restarted, order).next_attempt_at
    assert asking(restarted, again, at=due_at).ask_all(QUICK) == Asked(1, 0)
    assert not known_there(conversation_id)


def test_delays_double_up_to_a_bound_and_are_drawn_from_the_whole(
    database: Database, elevenlabs: ElevenLabsService, erase: Erase, break_deletions: Break
) -> None:
    order = erase("c1")
    break_deletions(status=500)
    drawn = []

    def uniform(least: float, most: float) -> float:
        drawn.append((least, most))
        return 0.0

    for _ in range(12):
        at = only(database, order).next_attempt_at
        assert ProviderRequests(database, elevenlabs, now=lambda at=at: at, uniform=uniform).ask_all(QUICK).failed == 1
    assert drawn == [(0.0, min(LONGEST_DELAY_SECONDS, BASE_SECONDS * 2.0**n)) for n in range(12)]
    assert only(database, order).attempts == 12


def test_when_elevenlabs_is_away_the_others_wait_too(
    database: Database, erase: Erase, stack: ExitStack, break_deletions: Break
) -> None:
    for number in range(8):
        erase(f"c{number}")
    nobody = stack.enter_context(ElevenLabsService(f"http://127.0.0.1:{free_port()}", keys=one_key()))
    assert asking(database, nobody).ask_all(QUICK) == Asked(0, FAILURES_IN_A_ROW)
    assert asking(database, nobody).ask_all(QUICK) == Asked(0, FAILURES_IN_A_ROW)
    left = ProviderDeletions(database).due(TombstoneUpkeep(database).now())
    assert len(left) == 8 - 2 * FAILURES_IN_A_ROW  # each had its turn: none stands in another's way


def test_more_than_a_batch_is_asked_for_in_one_run(
    database: Database, elevenlabs: ElevenLabsService, store: redis.Redis
) -> None:
    for number in range(120):
        keep(database, f"c{number}", at=TombstoneUpkeep(database).now() - HOUR, user_id="ana", said=0)
    erasure = Erasure(database, store, settle_seconds=0.0)
    erasure.carry_out(erasure.request(SubjectKind.USER, "ana", by="ana"), "ana", QUICK)
    assert asking(database, elevenlabs).ask_all(QUICK) == Asked(120, 0)


def test_only_what_belongs_to_an_order_is_asked_for_by_who_waits_for_it(
    database: Database, elevenlabs: ElevenLabsService, erase: Erase
) -> None:
    mine, other = erase("mine"), erase("other")
    assert asking(database, elevenlabs).ask_for(mine, QUICK) == Asked(1, 0)
    assert only(database, other).confirmed_at is None


def test_neither_ids_nor_words_of_elevenlabs_are_logged_or_kept(
    database: Database,
    elevenlabs: ElevenLabsService,
    erase: Erase,
    break_deletions: Break,
    capsys: pytest.CaptureFixture[str],
) -> None:
    erase("conv_canary")
    break_deletions(status=500, body={"detail": {"code": "secret_code", "message": "about conv_canary"}})
    asking(database, elevenlabs).ask_all(QUICK)
    told = capsys.readouterr()
    assert "has not deleted" in told.out + told.err
    assert "canary" not in told.out + told.err
    assert "secret_code" not in told.out + told.err
    with database.reading() as session:
        assert session.scalar(text("SELECT last_error FROM provider_deletions")) == "UpstreamUnavailableError 500"


def test_the_sandbox_is_asked_with_delete_and_our_key(
    database: Database, elevenlabs: ElevenLabsService, erase: Erase, sandbox_url: str
) -> None:
    erase("c1")
    asking(database, elevenlabs).ask_all(QUICK)
    counted = requests.get(f"{sandbox_url}/sandbox/stats", timeout=LIMIT).json()["requests"]
    assert counted["agents.conversation_deletion"] == 1
