"""A conversation of each kind, over real sockets, and exactly what is counted of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection

from scripts.launcher.waiting import wait_until
from tests.integration.conversation.scripted_agent import LIMIT, ScriptedAgent
from tests.integration.failover.conftest import Dial, Listener
from tests.integration.metrics_conversations.conftest import Numbers
from tests.servers import RunningService
from tests.unit.turns.talks import correction, interruption, response, spoken, tool

SHORT = "Yes, of course."
LONG = "You may return it within thirty days, in the box that it came in, with the receipt that you have got."

OPENED = {
    'vocero_conversation_setups_total{outcome="success"}': 1,
    "vocero_conversation_setup_seconds_count": 1,
    'vocero_legs_total{cause="first",provider="elevenlabs"}': 1,
}
LEFT = {
    'vocero_conversations_ended_total{by="client",reason="normal"}': 1,
    "vocero_conversation_seconds_count": 1,
}


def turns(provider: str = "elevenlabs", *, heard: int, **outcomes: int) -> dict[str, float]:
    """The counts of turns, and of those that were heard (and, if `answered`, timed to the end)."""
    counts: dict[str, float] = {
        f'vocero_turns_total{{outcome="{name}",provider="{provider}"}}': count for name, count in outcomes.items()
    }
    if heard:
        counts[f'vocero_first_audio_seconds_count{{provider="{provider}"}}'] = heard
    if "answered" in outcomes:
        counts[f'vocero_turn_seconds_count{{provider="{provider}"}}'] = outcomes["answered"]
    return counts


class Talk:
    """A client and the agent that it talks to."""

    def __init__(self, client: Listener, agent: ServerConnection) -> None:
        self.client = client
        self.agent = agent

    def ask(self, text: str) -> None:
        """The user types, and the agent has got it."""
        self.client.ask(text)
        while json.loads(self.agent.recv(LIMIT)).get("type") != "user_message":
            pass

    def answer(self, event_id: int, text: str, *, messages: int | None = None) -> None:
        """The agent says a text, or so many messages of it, and the client has it all."""
        sound = spoken(event_id, text)[:messages]
        self.say(response(event_id, text))
        for message in sound:
            self.agent.send(message.decode())
        self.client.until("agent_response")
        for _ in sound:
            self.client.until("audio")

    def say(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.agent.send(json.dumps(event))


@pytest.fixture
def talk(dial: Dial, service: RunningService, agent: ScriptedAgent) -> Talk:
    """A conversation that is open; no greeting."""
    client = dial(service)
    talking = Talk(client, agent.next_conversation())
    client.until("conversation_initiation_metadata")
    return talking


def expect(
    numbers: Numbers, *expected: dict[str, float], besides: tuple[str, ...] = ("elevenlabs_characters",)
) -> None:
    """Exactly these counts, and live conversations as many as said; nothing but `besides` is left out."""
    wanted = {name: value for part in expected for name, value in part.items()}

    def found() -> dict[str, float]:
        return {name: value for name, value in numbers().items() if not name.startswith(besides)}

    try:
        wait_until(lambda: found() == wanted, LIMIT)
    except TimeoutError:
        assert found() == wanted
        raise


def leave(talk: Talk) -> None:
    talk.client.socket.close()


def test_two_turns_are_counted_and_timed_and_their_characters_heard(talk: Talk, numbers: Numbers) -> None:
    for number, question in enumerate(("Do you ship?", "Even on Sundays?"), start=1):
        talk.ask(question)
        talk.answer(number, SHORT)
        wait_until(
            lambda number=number: (  # type: ignore[misc]
                numbers().get('vocero_turns_total{outcome="answered",provider="elevenlabs"}') == number
            ),
            LIMIT,
        )
    leave(talk)
    told = {f'elevenlabs_characters_total{{kind="{kind}"}}': 2.0 * len(SHORT) for kind in ("sent", "heard")}
    expect(numbers, OPENED_ALREADY, turns(heard=2, answered=2), LEFT, told, besides=())


OPENED_ALREADY: dict[str, float] = {"vocero_conversations_live": -1}
"""`numbers` may begin to count when the conversation is open."""


def test_a_barge_in_is_no_failure(talk: Talk, numbers: Numbers) -> None:
    talk.ask("May I return it?")
    talk.answer(1, LONG, messages=20)
    talk.ask("Stop.")
    talk.say(interruption(1), correction(1, LONG, "You may"))
    talk.client.until("interruption")
    talk.answer(2, SHORT)
    leave(talk)
    expect(numbers, OPENED_ALREADY, turns(heard=2, interrupted=1, answered=1), LEFT)


def test_a_tool_alone_is_an_empty_turn_and_an_empty_text_is_none(talk: Talk, numbers: Numbers) -> None:
    talk.ask("")
    talk.ask("Goodbye.")
    talk.say(*(tool(kind, "1", tool_type="system") for kind in ("agent_tool_request", "agent_tool_response")))
    talk.client.until("agent_tool_response")
    leave(talk)
    expect(numbers, OPENED_ALREADY, turns(heard=0, empty=1), LEFT)


def test_an_answer_that_breaks_off_is_spliced_and_is_one_turn(talk: Talk, numbers: Numbers) -> None:
    talk.ask("May I return it?")
    talk.answer(1, LONG, messages=6)
    talk.agent.socket.close()
    changed = talk.client.until("agent_changed")["agent_changed_event"]
    assert changed["spliced"] is True
    wait_until(lambda: numbers().get('vocero_turns_total{outcome="answered",provider="local"}') == 1, LIMIT)
    leave(talk)
    cause = changed["cause"]
    expect(
        numbers,
        OPENED_ALREADY,
        turns("local", heard=0, answered=1),
        {'vocero_first_audio_seconds_count{provider="elevenlabs"}': 1},
        {f'vocero_legs_total{{cause="{cause}",provider="local"}}': 1},
        {'vocero_spliced_utterances_total{from="elevenlabs",to="local"}': 1},
        LEFT,
        besides=("elevenlabs_",),
    )
    assert sum(value for name, value in numbers().items() if name.startswith("elevenlabs_errors")) == 1


def test_a_resume_is_no_set_up_and_no_ending(talk: Talk, numbers: Numbers, dial: Dial, service: RunningService) -> None:
    token = talk.client.until("connection_token")["connection_token_event"]["token"]
    shown = {"token": token, "received": talk.client.received, "last_event_id": 0}
    talk.client.socket.socket.close()
    back = dial(service, resume=shown)
    back.until("connection_resumed")
    talk.client = back
    talk.ask("Do you ship?")
    talk.answer(1, SHORT)
    wait_until(lambda: numbers().get('vocero_turns_total{outcome="answered",provider="elevenlabs"}') == 1, LIMIT)
    leave(talk)
    resumed = {'vocero_resumes_total{outcome="here"}': 1.0}
    expect(numbers, OPENED_ALREADY, turns(heard=1, answered=1), LEFT, resumed)


def test_who_is_refused_has_failed_for_a_reason_of_its_own(numbers: Numbers, service: RunningService) -> None:
    url = f"{service.ws_url}/v1/convai/conversation?agent_id=agent_unknown"
    with connect(url) as socket, pytest.raises(ConnectionClosed):
        while socket.recv(LIMIT):
            pass
    expect(
        numbers,
        {
            'vocero_conversation_setups_total{outcome="caller"}': 1,
            'vocero_conversations_ended_total{by="client",reason="refused"}': 1,
        },
    )


def test_a_conversation_is_live_and_opened_when_its_metadata_has_gone(
    numbers: Numbers, dial: Dial, service: RunningService, agent: ScriptedAgent
) -> None:
    talking = Talk(dial(service), agent.next_conversation())
    talking.client.until("conversation_initiation_metadata")
    expect(numbers, OPENED, {"vocero_conversations_live": 1})
    leave(talking)
    expect(numbers, OPENED, LEFT)
