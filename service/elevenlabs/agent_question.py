"""Ask an agent one thing over an open conversation, and hand its answer on while it arrives.

The key decision: an agent greets before it listens, unless its configuration lets us override the greeting with
nothing. Where it does not, we wait for the greeting, for a bounded time, and leave it out by its event id.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.deadline import within_deadline
from service.elevenlabs.agent_answer import AgentAnswer, PastTurn, ResponseEvent, ToolCall
from service.elevenlabs.live_conversation import LiveConversation, payload
from service.elevenlabs.vocabulary import DEFAULT_AGENT_AUDIO_FORMAT, ClientEvent, ServerEvent
from service.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeoutError
from service.retry import commit_call


@dataclass(frozen=True, kw_only=True)
class Question:
    """One message to an agent, and how long its answer may take.

    `quiet_seconds` without audio after the full text end an answer in voice mode; a greeting that cannot be
    suppressed is waited for `greeting_seconds`; the whole may take `total_seconds`.
    """

    text: str
    history: Sequence[PastTurn] = ()
    text_only: bool = False
    quiet_seconds: float = 2.0
    greeting_seconds: float = 3.0
    total_seconds: float = 60.0


def initiation_of(question: Question, *, suppress_greeting: bool) -> dict[str, Any]:
    """The initiation event; an override that is not needed is left out, because an agent may refuse each of them."""
    override: dict[str, Any] = {}
    if suppress_greeting:
        override["agent"] = {"first_message": ""}
    if question.text_only:
        override["conversation"] = {"text_only": True}
    initiation: dict[str, Any] = {"type": ClientEvent.CONVERSATION_INITIATION_CLIENT_DATA}
    return initiation | ({"conversation_config_override": override} if override else {})


def ask(
    conversation: LiveConversation, question: Question, *, deadline: float, greeting_suppressed: bool
) -> Iterator[ResponseEvent]:
    """Ask and yield the answer until it is complete. `deadline` is on the monotonic clock.

    Raises:
        UpstreamError: the conversation failed, ended before the answer, or took too long.
    """
    dialogue = _Dialogue(conversation, deadline)
    audio_format = dialogue.await_metadata()
    greeting_id = None if greeting_suppressed else dialogue.await_greeting(question.greeting_seconds)
    commit_call()  # from here on the agent may act on it: call tools, and be billed for it
    if question.history:
        context = history_as_context(question.history)
        conversation.send_event({"type": ClientEvent.CONTEXTUAL_UPDATE, "text": context})
    conversation.send_event({"type": ClientEvent.USER_MESSAGE, "text": question.text})
    answer = AgentAnswer(audio_format=audio_format, text_only=question.text_only, after_event_id=greeting_id)
    yield from dialogue.answer_events(answer, question.quiet_seconds)


def history_as_context(history: Sequence[PastTurn]) -> str:
    """The text of the `contextual_update` that tells an agent what was said before."""
    names = {"user": "User", "agent": "Agent"}
    return "The conversation so far:\n" + "\n".join(f"{names[turn.role]}: {turn.text}" for turn in history)


class _Dialogue:
    def __init__(self, conversation: LiveConversation, deadline: float) -> None:
        self._conversation = conversation
        self._deadline = deadline

    def await_metadata(self) -> str:
        """The format of the agent's audio."""
        while True:
            event = self._next_event()
            if event["type"] == ServerEvent.CONVERSATION_INITIATION_METADATA:
                fields = payload(event, "conversation_initiation_metadata_event")
                return str(fields.get("agent_output_audio_format") or DEFAULT_AGENT_AUDIO_FORMAT)

    def await_greeting(self, seconds: float) -> int | None:
        """The event id of the greeting; None if none comes."""
        until = min(time.monotonic() + seconds, self._deadline)
        while (left := until - time.monotonic()) > 0:
            try:
                event = self._conversation.receive_event(left)
            except TimeoutError:
                return None
            if event is None:
                raise _ended()
            if event["type"] == ServerEvent.AGENT_RESPONSE:
                number = payload(event, "agent_response_event").get("event_id")
                return number if isinstance(number, int) else None
        return None

    def answer_events(self, answer: AgentAnswer, quiet_seconds: float) -> Iterator[ResponseEvent]:
        last_heard = time.monotonic()
        while not answer.is_complete:
            quiet_until = last_heard + quiet_seconds if answer.has_final_text else None
            try:
                event = self._receive(quiet_until)
            except TimeoutError:
                return
            if event is None and answer.has_final_text:
                return
            if event is None:
                raise _ended()
            for part in answer.take(event):
                last_heard = time.monotonic()
                if isinstance(part, ToolCall):
                    self._refuse_tool(part)
                yield part

    def _refuse_tool(self, call: ToolCall) -> None:
        # Unanswered, the agent would wait for its tool's timeout in silence.
        self._conversation.send_event(
            {
                "type": ClientEvent.CLIENT_TOOL_RESULT,
                "tool_call_id": call.tool_call_id,
                "result": "This client has no tools.",
                "is_error": True,
            }
        )

    def _next_event(self) -> Mapping[str, Any]:
        event = self._receive(None)
        if event is None:
            raise _ended()
        return event

    def _receive(self, quiet_until: float | None) -> Mapping[str, Any] | None:
        """The next event or None at the end. TimeoutError: it has been quiet for long enough."""
        until = self._deadline if quiet_until is None else min(self._deadline, quiet_until)
        try:
            # Until there is an event to hand out, this is within a retried call, whose deadline counts too.
            return self._conversation.receive_event(within_deadline(max(0.0, until - time.monotonic())))
        except TimeoutError:
            if until == quiet_until:
                raise
        raise UpstreamTimeoutError("The agent's answer took too long.", code="answer_timeout")


def _ended() -> UpstreamError:
    return UpstreamProtocolError("ElevenLabs ended the conversation before its answer.", code="conversation_ended")
