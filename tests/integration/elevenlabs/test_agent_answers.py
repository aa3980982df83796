from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from agent_upstream import METADATA, WAIT_SECONDS, Agent, AgentUpstream, audio, part, response

from service.elevenlabs.agent_answer import AudioPart, CorrectedText, FinalText, PastTurn, TextPart, ToolCall
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import (
    UpstreamProtocolError,
    UpstreamQuotaError,
    UpstreamRequestError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

StartAgent = Callable[..., AgentUpstream]
StartService = Callable[..., ElevenLabsService]

PING = {"type": "ping", "ping_event": {"event_id": 1, "ping_ms": 20}}
REFUSAL = "Override for field 'first_message' is not allowed by config."


def started(agent: Agent) -> dict[str, Any]:
    """Take the initiation and answer it."""
    initiation = agent.hear()
    agent.say(METADATA)
    return initiation


def test_in_text_mode_parts_and_the_whole_text_come_as_they_are_made_and_then_the_conversation_ends(
    start_agent: StartAgent, start_service: StartService
) -> None:
    heard: list[dict[str, Any]] = []
    taken = threading.Event()
    codes: list[int | None] = []

    def script(agent: Agent) -> None:
        heard.append(started(agent))
        agent.say(PING)
        heard.extend(agent.hear() for _ in range(3))
        agent.say({"type": "vad_score", "vad_score_event": {"vad_score": 0.1}}, part("", "start", 2))
        agent.say(part("We open", "delta", 2))
        assert taken.wait(WAIT_SECONDS), "the first part was held back"
        agent.say(part(" at nine.", "delta", 2), part("", "stop", 2), response("We open at nine.", 2))
        codes.append(agent.await_hang_up())

    with start_agent(script) as upstream:
        events = start_service(upstream.url).generate_response(
            "When do you open?",
            agent_id="agent_1",
            text_only=True,
            history=[PastTurn(role="user", text="Hi."), PastTurn(role="agent", text="Hello!")],
            quiet_seconds=WAIT_SECONDS,
        )
        assert next(events) == TextPart(text="We open", event_id=2)
        taken.set()
        assert list(events) == [
            TextPart(text=" at nine.", event_id=2),
            FinalText(text="We open at nine.", event_id=2),
        ]
    assert heard[0]["conversation_config_override"] == {
        "agent": {"first_message": ""},
        "conversation": {"text_only": True},
    }
    others = {event["type"]: event for event in heard[1:]}
    assert others["contextual_update"]["text"] == "The conversation so far:\nUser: Hi.\nAgent: Hello!"
    assert others["user_message"] == {"type": "user_message", "text": "When do you open?"}
    assert others["pong"]["event_id"] == 1
    assert codes == [1000]


def test_in_voice_mode_the_audio_after_the_text_is_waited_for_until_it_is_quiet(
    start_agent: StartAgent, start_service: StartService
) -> None:
    def script(agent: Agent) -> None:
        started(agent)
        agent.hear()
        agent.say(response("Nine.", 1), audio(b"one", 1), audio(b"two", 1), PING)
        agent.await_hang_up()

    upstream = start_agent(script)
    events = start_service(upstream.url).generate_response("When?", agent_id="agent_1", quiet_seconds=0.3)
    assert list(events) == [
        FinalText(text="Nine.", event_id=1),
        AudioPart(audio=b"one", audio_format="pcm_24000", event_id=1),
        AudioPart(audio=b"two", audio_format="pcm_24000", event_id=1),
    ]


def test_pings_do_not_keep_an_answer_open(start_agent: StartAgent, start_service: StartService) -> None:
    left = threading.Event()

    def script(agent: Agent) -> None:
        started(agent)
        agent.hear()
        agent.say(response("Nine.", 1), audio(b"one", 1))
        while not left.wait(0.05):
            agent.say(PING)

    upstream = start_agent(script)
    events = start_service(upstream.url).generate_response("When?", agent_id="agent_1", quiet_seconds=0.3)
    assert [type(event) for event in events] == [FinalText, AudioPart]
    left.set()


def test_the_agents_own_end_completes_an_answer_whose_text_is_there(
    start_agent: StartAgent, start_service: StartService
) -> None:
    def script(agent: Agent) -> None:
        started(agent)
        agent.hear()
        agent.say(response("Goodbye.", 1), audio(b"bye", 1))
        agent.close(1000, "")

    upstream = start_agent(script)
    events = start_service(upstream.url).generate_response("Bye.", agent_id="a", quiet_seconds=WAIT_SECONDS)
    assert [type(event) for event in events] == [FinalText, AudioPart]


def test_a_correction_is_handed_on(start_agent: StartAgent, start_service: StartService) -> None:
    correction = {
        "type": "agent_response_correction",
        "agent_response_correction_event": {
            "original_agent_response": "Nine to five.",
            "corrected_agent_response": "Nine",
            "event_id": 1,
        },
    }

    def script(agent: Agent) -> None:
        started(agent)
        agent.hear()
        agent.say(response("Nine to five.", 1), correction, {"type": "agent_response_complete"})
        agent.await_hang_up()

    upstream = start_agent(script)
    events = start_service(upstream.url).generate_response("When?", agent_id="a", quiet_seconds=WAIT_SECONDS)
    assert list(events)[-1] == CorrectedText(text="Nine", event_id=1)


def test_a_tool_call_is_handed_on_and_refused_so_that_the_agent_goes_on(
    start_agent: StartAgent, start_service: StartService
) -> None:
    refusals: list[dict[str, Any]] = []
    call = {"tool_name": "weather", "tool_call_id": "t1", "parameters": {"city": "Vigo"}, "event_id": 1}

    def script(agent: Agent) -> None:
        started(agent)
        agent.hear()
        agent.say(response("Let me look.", 1), {"type": "client_tool_call", "client_tool_call": call})
        refusals.append(agent.hear())
        agent.say(response("I cannot look.", 2), {"type": "agent_response_complete"})
        agent.await_hang_up()

    upstream = start_agent(script)
    events = start_service(upstream.url).generate_response("Rain?", agent_id="a", quiet_seconds=WAIT_SECONDS)
    assert list(events) == [
        FinalText(text="Let me look.", event_id=1),
        ToolCall(tool_name="weather", tool_call_id="t1", parameters={"city": "Vigo"}, event_id=1),
        FinalText(text="I cannot look.", event_id=2),
    ]
    assert (refusals[0]["tool_call_id"], refusals[0]["is_error"]) == ("t1", True)


@pytest.mark.parametrize("greets", [True, False])
def test_an_agent_that_insists_on_its_greeting_is_asked_after_it_and_the_greeting_left_out(
    start_agent: StartAgent, start_service: StartService, greets: bool
) -> None:
    overrides: list[object] = []

    def script(agent: Agent) -> None:
        initiation = agent.hear()
        overrides.append(initiation.get("conversation_config_override"))
        if overrides[-1] is not None:
            agent.close(1008, REFUSAL)
            return
        agent.say(METADATA)
        if greets:
            agent.say(response("Welcome!", 1), audio(b"greeting", 1))
        agent.hear()
        if greets:
            agent.say(audio(b"late greeting", 1))
        agent.say(response("Nine.", 2), audio(b"answer", 2))
        agent.await_hang_up()

    upstream = start_agent(script)
    events = start_service(upstream.url).generate_response(
        "When?", agent_id="a", quiet_seconds=0.3, greeting_seconds=WAIT_SECONDS if greets else 0.1
    )
    assert list(events) == [
        FinalText(text="Nine.", event_id=2),
        AudioPart(audio=b"answer", audio_format="pcm_24000", event_id=2),
    ]
    assert overrides == [{"agent": {"first_message": ""}}, None]


def test_an_override_that_was_asked_for_is_not_silently_dropped(
    start_agent: StartAgent, start_service: StartService
) -> None:
    upstream = start_agent(lambda agent: agent.close(1008, "Override for field 'text_only' is not allowed by config."))
    events = start_service(upstream.url).generate_response("When?", agent_id="a", text_only=True)
    with pytest.raises(UpstreamRequestError) as caught:
        next(events)
    assert caught.value.code == "override_error"
    assert len(upstream.paths) == 2


def test_an_answer_that_takes_too_long_is_a_timeout_and_the_conversation_is_ended(
    start_agent: StartAgent, start_service: StartService
) -> None:
    codes: list[int | None] = []

    def script(agent: Agent) -> None:
        started(agent)
        codes.append(agent.await_hang_up())

    with start_agent(script) as upstream:
        events = start_service(upstream.url).generate_response("When?", agent_id="a", total_seconds=0.3)
        with pytest.raises(UpstreamTimeoutError) as caught:
            list(events)
    assert caught.value.code == "answer_timeout"
    assert codes == [1000]


@pytest.mark.parametrize("flood", [PING, part("x", "delta", 1)])
def test_an_agent_that_never_stops_is_ended_by_the_total_time(
    start_agent: StartAgent, start_service: StartService, flood: dict[str, Any]
) -> None:
    left = threading.Event()

    def script(agent: Agent) -> None:
        started(agent)
        while not left.wait(0.01):
            agent.say(flood)

    upstream = start_agent(script)
    events = start_service(upstream.url).generate_response("When?", agent_id="a", total_seconds=0.4)
    with pytest.raises(UpstreamTimeoutError):
        for _ in events:
            pass
    left.set()


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (1000, "", UpstreamProtocolError),
        (1002, "This request exceeds your quota limit.", UpstreamQuotaError),
        (1011, "", UpstreamUnavailableError),
    ],
)
@pytest.mark.parametrize("moment", ["before the metadata", "before the answer", "within the answer"])
def test_a_conversation_that_ends_before_its_answer_is_an_error(
    start_agent: StartAgent, start_service: StartService, moment: str, code: int, reason: str, expected: type[Exception]
) -> None:
    def script(agent: Agent) -> None:
        if moment != "before the metadata":
            started(agent)
            agent.hear()
        if moment == "within the answer":
            agent.say(part("We", "delta", 1))
        agent.close(code, reason)

    upstream = start_agent(script)
    events = start_service(upstream.url).generate_response("When?", agent_id="a")
    if moment == "within the answer":
        assert next(events) == TextPart(text="We", event_id=1)
    with pytest.raises(expected):
        next(events)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "audio", "audio_event": {"audio_base_64": "***", "event_id": 1}},
        {"type": "audio", "audio_event": {"event_id": 1}},
        {"type": "audio"},
        {"type": "agent_response", "agent_response_event": {}},
        {"type": "agent_chat_response_part", "text_response_part": {"text": "x"}},
        {"type": "client_tool_call", "client_tool_call": {"parameters": 1}},
    ],
)
def test_an_event_that_makes_no_sense_is_a_protocol_error_that_quotes_nothing(
    start_agent: StartAgent, start_service: StartService, event: dict[str, Any]
) -> None:
    def script(agent: Agent) -> None:
        started(agent)
        agent.say(event)
        agent.await_hang_up()

    upstream = start_agent(script)
    with pytest.raises(UpstreamProtocolError) as caught:
        list(start_service(upstream.url).generate_response("When?", agent_id="a"))
    assert caught.value.code == "senseless_frame"


def test_a_consumer_that_stops_early_ends_the_conversation(
    start_agent: StartAgent, start_service: StartService
) -> None:
    codes: list[int | None] = []

    def script(agent: Agent) -> None:
        started(agent)
        agent.hear()
        agent.say(part("We", "delta", 1))
        codes.append(agent.await_hang_up())

    with start_agent(script) as upstream:
        for _ in start_service(upstream.url).generate_response("When?", agent_id="a"):
            break
    assert codes == [1000]
