"""What conversations cost is asked of ElevenLabs once they are over, and kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
import requests

from scripts.launcher.waiting import wait_until
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.past_conversations import CallCost
from service.keeping.costs import FAILURES_IN_A_ROW, CostFetch
from service.keeping.run import Run
from service.storage import ConversationCosts, Conversations, Database, Leg
from service.storage.tombstone_upkeep import TombstoneUpkeep
from tests.integration.keeping.conftest import Talk
from tests.integration.keeping.kept import keep
from tests.integration.sandbox_agents.caller import LIMIT, OPEN, address, calling
from tests.keys import one_key
from tests.servers import free_port
from tests.told import Told

HOUR = timedelta(hours=1)
QUICK = Run(pause_seconds=0.0)
Keep = Callable[..., None]


@pytest.fixture
def keep_one(database: Database) -> Keep:
    """Keep a conversation that was held an hour ago."""

    def one(conversation_id: str, **options: Any) -> None:
        keep(database, conversation_id, at=TombstoneUpkeep(database).now() - options.pop("ago", HOUR), **options)

    return one


@pytest.fixture
def break_details(sandbox_url: str) -> Callable[..., None]:
    """Let a fault happen to requests for a conversation's details."""

    def arm(**fault: Any) -> None:
        rule = {"route": "agents.conversation_details", **fault}
        assert requests.post(f"{sandbox_url}/sandbox/faults", json=[rule], timeout=LIMIT).status_code == 201

    return arm


def asked(sandbox_url: str) -> int:
    counted = requests.get(f"{sandbox_url}/sandbox/stats", timeout=LIMIT).json()["requests"]
    return int(counted.get("agents.conversation_details", 0))


def test_what_a_conversation_cost_is_kept_and_not_asked_for_again(
    database: Database, elevenlabs: ElevenLabsService, sandbox_url: str, talk: Talk, keep_one: Keep
) -> None:
    conversation_id = talk()
    keep_one(conversation_id)
    costs = CostFetch(database, elevenlabs)
    assert costs.has_work()
    told = Told()
    assert costs.run(QUICK) == {"fetched": 1, "failed": 0}
    cost = ConversationCosts(database).get(conversation_id)
    assert cost is not None
    assert cost.characters is not None
    assert cost.characters > 20
    assert cost.credits is not None
    assert cost.call_seconds is not None
    assert not costs.has_work()
    assert costs.run(QUICK) == {"fetched": 0, "failed": 0}
    assert asked(sandbox_url) == 1
    assert told.more("elevenlabs_characters_total") == {"billed": cost.characters}


def test_what_elevenlabs_does_not_know_is_kept_as_not_known(
    database: Database, elevenlabs: ElevenLabsService, keep_one: Keep
) -> None:
    keep_one("conv_unknown")
    assert CostFetch(database, elevenlabs).run(QUICK) == {"fetched": 1, "failed": 0}
    cost = ConversationCosts(database).get("conv_unknown")
    assert cost is not None
    assert (cost.credits, cost.characters, cost.call_seconds) == (None, None, None)


def test_only_what_is_over_for_a_while_and_not_for_days_is_asked_for(
    database: Database, elevenlabs: ElevenLabsService, sandbox_url: str, keep_one: Keep
) -> None:
    keep_one("just over", ago=timedelta(seconds=30))
    keep_one("goes on", ends=False)
    keep_one("too old", ago=timedelta(days=4))
    keep_one("without a leg", with_leg=False)
    assert not CostFetch(database, elevenlabs).has_work()
    assert CostFetch(database, elevenlabs).run(QUICK) == {"fetched": 0, "failed": 0}
    assert asked(sandbox_url) == 0


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"code": "system_busy"}, {"garbage": True}, {"hang": 5}, {"code": "invalid_api_key"}],
    ids=str,
)
def test_a_failure_is_asked_for_again_by_the_next_run(
    database: Database,
    elevenlabs: ElevenLabsService,
    talk: Talk,
    keep_one: Keep,
    break_details: Callable[..., None],
    fault: dict[str, Any],
) -> None:
    conversation_id = talk()
    keep_one(conversation_id)
    break_details(**fault, times=1)
    costs = CostFetch(database, elevenlabs)
    assert costs.run(QUICK) == {"fetched": 0, "failed": 1}
    assert ConversationCosts(database).get(conversation_id) is None
    assert costs.run(QUICK) == {"fetched": 1, "failed": 0}


def test_one_that_cannot_be_read_stands_in_nobodys_way(
    database: Database, elevenlabs: ElevenLabsService, keep_one: Keep, break_details: Callable[..., None]
) -> None:
    for number in range(4):
        keep_one(f"c{number}", ago=HOUR - timedelta(minutes=number))
    break_details(nth=1, times=1, garbage=True)
    assert CostFetch(database, elevenlabs).run(QUICK) == {"fetched": 3, "failed": 1}


def test_when_elevenlabs_is_away_the_others_wait(database: Database, keep_one: Keep, stack: ExitStack) -> None:
    for number in range(6):
        keep_one(f"c{number}")
    nobody = stack.enter_context(ElevenLabsService(f"http://127.0.0.1:{free_port()}", keys=one_key()))
    assert CostFetch(database, nobody).run(QUICK) == {"fetched": 0, "failed": FAILURES_IN_A_ROW}


def test_a_conversation_that_elevenlabs_has_not_added_up_is_asked_for_later(
    database: Database, elevenlabs: ElevenLabsService, sandbox_url: str, keep_one: Keep
) -> None:
    costs = CostFetch(database, elevenlabs)
    with calling(address(sandbox_url, agent_id="agent_text")) as caller:
        caller.send(OPEN)
        conversation_id = caller.next()["conversation_initiation_metadata_event"]["conversation_id"]
        keep_one(conversation_id)
        assert costs.run(QUICK) == {"fetched": 0, "failed": 0}
        assert costs.has_work()
        caller.wait_for("agent_response")
        caller.write("Goodbye!")
        caller.wait_for_close()
    wait_until(lambda: costs.run(QUICK)["fetched"], LIMIT, "the cost is fetched")


def test_the_legs_of_a_conversation_are_added_up(
    database: Database, elevenlabs: ElevenLabsService, talk: Talk, keep_one: Keep
) -> None:
    first, second = talk(), talk()
    keep_one("c1", theirs=first)
    at = TombstoneUpkeep(database).now() - HOUR
    Conversations(database).put_leg(Leg("c1", 2, "elevenlabs", at, provider_conversation_id=second))
    keep_one("alone", theirs=first)
    assert CostFetch(database, elevenlabs).run(QUICK) == {"fetched": 2, "failed": 0}
    both, one = ConversationCosts(database).get("c1"), ConversationCosts(database).get("alone")
    assert both is not None
    assert one is not None
    assert both.characters == 2 * (one.characters or 0)


def test_what_is_erased_while_its_cost_is_fetched_leaves_nothing(
    database: Database, sandbox_url: str, keep_one: Keep, stack: ExitStack
) -> None:
    class Slow(ElevenLabsService):
        def fetch_cost(self, provider_conversation_id: str) -> CallCost | None:
            Conversations(database).erase(provider_conversation_id)
            return CallCost(credits=7)

    keep_one("c1")
    slow = stack.enter_context(Slow(sandbox_url, keys=one_key()))
    assert CostFetch(database, slow).run(QUICK) == {"fetched": 0, "failed": 0}
    assert ConversationCosts(database).get("c1") is None
