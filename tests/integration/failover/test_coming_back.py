"""A client that was lost comes back: to the same worker, to another one, after a drain; and those that must not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests import servers
from tests.conftest import NewRedis, StartSandbox, StartService
from tests.integration.failover.conftest import PATIENT, Dial, Listener
from tests.servers import RunningService

QUESTION, OF_IT = "How do returns work?", "thirty days"
SHORT_QUESTION, OF_THE_SHORT_ONE = "Where is the shop?", "Valencia"


StartNode = Callable[[], RunningService]


@pytest.fixture
def start_node(start_sandbox: StartSandbox, start_service: StartService, database_url: str) -> StartNode:
    """Start one node after the other: they have one sandbox, one Redis and one database."""
    settings = {"ELEVENLABS_BASE_URL": start_sandbox().url, "VOCERO_DATABASE_URL": database_url, **PATIENT}

    def start() -> RunningService:
        node = start_service(**settings)
        settings["VOCERO_REDIS_URL"] = node.environment["VOCERO_REDIS_URL"]
        return node

    return start


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, service_settings: dict[str, str], api_key: str, new_redis: NewRedis
) -> Iterator[RunningService]:
    """A service that no test ends."""
    settings = {**service_settings, **PATIENT, "VOCERO_REDIS_URL": new_redis()}
    running = servers.start_service(tmp_path_factory.mktemp("resuming"), api_key, settings)
    yield running
    running.discard()


def resume_of(talk: Listener, *, token: str | None = None) -> dict[str, Any]:
    """What a client shows that was lost just now."""
    tokens = [each["connection_token_event"]["token"] for each in talk.events if each["type"] == "connection_token"]
    ids = [each["audio_event"]["event_id"] for each in talk.events if each["type"] == "audio"]
    return {"token": token or tokens[-1], "received": talk.received, "last_event_id": max(ids, default=0)}


def cut(talk: Listener) -> None:
    """The network is gone: no close frame."""
    talk.socket.socket.close()


def spoken(*talks: Listener, words: str = OF_IT) -> str:
    """What was spoken since the question's answer was announced, over all connections."""
    events = [event for talk in talks for event in talk.events]
    texts = [event.get("agent_response_event", {}).get("agent_response", "") for event in events]
    begin = next(index for index, text in enumerate(texts) if words in text)
    return "".join(
        "".join(event["audio_event"].get("alignment", {}).get("chars", []))
        for event in events[begin:]
        if event["type"] == "audio"
    )


def answer_in(talk: Listener, question: str = QUESTION, words: str = OF_IT) -> str:
    """The text of the answer, which is being spoken."""
    talk.until("audio")
    talk.ask(question)
    while words not in (text := talk.until("agent_response")["agent_response_event"]["agent_response"]):
        pass
    talk.until("audio")
    return str(text)


def test_the_answer_goes_on_where_it_was_cut_to_the_letter(service: RunningService, dial: Dial) -> None:
    talks = [dial(service)]
    answer = answer_in(talks[0])
    for _ in range(5):
        for _ in range(3):
            talks[-1].until("audio")
        cut(talks[-1])
        back = dial(service, resume={**resume_of(talks[-1]), "received": sum(talk.received for talk in talks)})
        resumed = back.until("connection_resumed")["connection_resumed_event"]
        assert resumed["received"] >= 1
        assert not any(event["type"] == "connection_discontinuity" for event in back.events)
        back.until("connection_token")
        talks.append(back)
    while spoken(*talks) != answer:
        talks[-1].until("audio")


def test_who_comes_back_before_the_loss_is_seen_takes_the_place_and_the_other_is_told(
    service: RunningService, dial: Dial
) -> None:
    first = dial(service)
    first.until("audio")
    second = dial(service, resume=resume_of(first))
    second.until("connection_token")
    code, reason = first.closed()
    assert code == 4409
    assert "another connection" in reason
    second.ask(QUESTION)
    second.until("agent_response")


@pytest.mark.parametrize("which", ["forged", "used", "of no conversation"])
def test_a_token_that_is_not_good_is_refused_and_disturbs_nobody(
    service: RunningService, dial: Dial, which: str
) -> None:
    talk = dial(service)
    talk.until("audio")
    shown = resume_of(talk)
    conversation_id, _, _ = shown["token"].rpartition(".")
    if which == "used":
        cut(talk)
        back = dial(service, resume=shown)
        back.until("connection_token")
        back.until("ping")  # whose pong shows that the new token has come
        talk = back
        back.ask(QUESTION)
        back.until("agent_response")
    bad = {
        "forged": f"{conversation_id}.{'A' * 43}",
        "used": shown["token"],
        "of no conversation": f"conv_unknown.{'A' * 43}",
    }[which]
    code, reason = dial(service, resume={**shown, "token": bad}).closed()
    assert code in {1008, 1013}, reason
    if code == 1008:
        assert reason in {"invalid_resume_token", "resume_token_used", "resume_token_expired"}
    talk.ask(QUESTION)
    talk.until("agent_response")


def test_another_node_takes_over_when_the_first_was_killed(start_node: StartNode, dial: Dial) -> None:
    service, other = start_node(), start_node()
    talk = dial(service)
    answer_in(talk)
    shown = resume_of(talk)
    service.child.kill()
    with pytest.raises(ConnectionClosed):
        while True:
            talk.until("audio")
    shown = resume_of(talk)
    back = dial(other, resume=shown)
    assert back.until("connection_resumed")["connection_resumed_event"]["replayed"] == 0
    gap = back.until("connection_discontinuity")["connection_discontinuity_event"]
    assert gap["reason"] == "taken_over"
    assert QUESTION in json.dumps(gap["history"])
    back.until("connection_token")
    back.ask("What are your opening hours?")
    # If the ledger had not been told of the first answer yet, that question is answered before.
    while "Monday" not in (answer := back.until("agent_response")["agent_response_event"])["agent_response"]:
        assert OF_IT in answer["agent_response"]
    assert answer["event_id"] > shown["last_event_id"]
    assert not any(event["type"] == "conversation_initiation_metadata" for event in back.events)


def test_a_worker_that_leaves_lets_the_turn_end_and_the_talk_goes_on_elsewhere(
    start_node: StartNode, dial: Dial
) -> None:
    service, other = start_node(), start_node()
    talk = dial(service)
    answer = answer_in(talk, SHORT_QUESTION, OF_THE_SHORT_ONE)
    service.child.ask_to_stop()
    while spoken(talk, words=OF_THE_SHORT_ONE) != answer:
        talk.until("audio")
    hint = talk.until("connection_draining")["connection_draining_event"]["reconnect_in_seconds"]
    assert 0 <= hint <= 10
    assert talk.closed()[0] == 1012
    back = dial(other, resume=resume_of(talk))
    gap = back.until("connection_discontinuity")["connection_discontinuity_event"]
    assert [turn["speaker"] for turn in gap["history"]][-2:] == ["user", "agent"]
    back.until("connection_token")
    back.ask("What are your opening hours?")
    assert "Monday" in back.until("agent_response")["agent_response_event"]["agent_response"]
