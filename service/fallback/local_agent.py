"""`LocalAgent`: one conversation's brain and mouth without any cloud, speaking ElevenLabs' Agents protocol in events.

The key decision: it knows no socket. Client events go in by `receive`, server events come out by a callback, and one
thread of the agent's own does everything in between, woken by its mailbox or by the next deadline. Slow work (the
dialogue and the voice, the ears) runs on two workers, so neither ever delays a ping or an incoming event. An idle
agent wakes once every few seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import structlog

from service.errors import RequestError, SocketError
from service.fallback import local_agent_events as events
from service.fallback.faq_dialogue import Reply
from service.fallback.local_agent_events import Event
from service.fallback.local_agent_hearing import Ears, Listener
from service.fallback.local_agent_initiation import fill_variables, read_initiation
from service.fallback.local_agent_mouth import Mouth
from service.fallback.local_agent_notes import Notes
from service.fallback.local_agent_pings import Pings
from service.fallback.local_agent_profile import AgentProfile
from service.fallback.local_agent_speech import Answer, Pace
from service.fallback.local_agent_thinking import Dialogue, Thinker
from service.fallback.local_agent_threads import Action, Mailbox, Timers, Worker
from service.fallback.local_agent_tools import ToolCall, ToolDesk
from service.fallback.local_voice import Voice
from service.fallback.takeover import Opening
from service.fallback.talk_history import PastTurn, TalkHistory
from service.logs import with_log_context

log = structlog.get_logger(__name__)

MAILBOX_EVENTS = 256
STUCK_SECONDS = 10.0
MAX_QUESTION_CHARACTERS = 2_000
MAX_NUDGES = 2
VAD_SCORE_SECONDS = 0.1


class LocalAgent:
    """One conversation.

    `emit` gets every server event, in order and from one thread; it may block a while, and a SocketError out of it
    ends the agent silently. `on_end(code, reason)` is called once when the agent itself ends the conversation, after
    the `error` event if there is one. `ears` is None when speech cannot be understood here.

    `ping_seconds` is the cadence of pings. The client's first event is waited for during `initiation_seconds`; an agent
    with an `opening` waits for none: it takes a conversation over. `history` is what was said in that before, and
    `first_event_id` the id of its first turn here.
    """

    def __init__(
        self,
        profile: AgentProfile,
        *,
        conversation_id: str,
        dialogue: Dialogue,
        voice: Voice,
        ears: Ears | None,
        emit: Callable[[Event], None],
        on_end: Callable[[int, str], None],
        pace: Pace | None = None,
        ping_seconds: float = 5.0,
        initiation_seconds: float = 10.0,
        history: Iterable[PastTurn] = (),
        first_event_id: int = 1,
        opening: Opening | None = None,
    ) -> None:
        self._profile = profile
        self._conversation_id = conversation_id
        self._ears = ears
        self._send = emit
        self._on_end = on_end
        self._ping_seconds = ping_seconds
        self._initiation_seconds = initiation_seconds
        self._mailbox = Mailbox(MAILBOX_EVENTS)
        self._thread = threading.Thread(target=with_log_context(self._run), name="local-agent", daemon=True)
        self._mouth_worker = Worker("local-agent-mouth", capacity=1)  # a newer answer replaces one that still waits
        self._ears_worker = Worker("local-agent-ears", capacity=8)
        self._opening = opening
        # All that follows belongs to the agent's thread.
        self._history = TalkHistory(history)
        self._mouth = Mouth(
            voice, worker=self._mouth_worker, pace=pace or Pace(), emit=self._emit, post=self._post,
            on_said=self._on_said, history=self._history,
            on_failed=lambda: self._end(1002, "The agent could not speak.", error_type="tts_cascade_error"),
        )  # fmt: skip
        self._thinker = Thinker(
            dialogue, worker=self._mouth_worker, post=self._post, on_reply=self._on_reply,
            on_failed=lambda: self._end(1002, "The agent could not answer.", error_type="llm_error"),
        )  # fmt: skip
        self._listener: Listener | None = None
        self._variables: Mapping[str, str] = {}
        self._timers = Timers()
        self._tools = ToolDesk(timers=self._timers, emit=self._emit, on_result=self._on_tool_result)
        self._pings = Pings()
        self.notes = Notes()
        self._begun = False
        self._ending: tuple[int, str] | None = None
        self._event_id = first_event_id - 1
        self._farewell_id: int | None = None
        self._nudges = 0
        self._last_input = self._last_vad_score = 0.0
        self._handlers: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
            events.USER_AUDIO: self._on_audio,
            "pong": lambda event: self._pings.answered(event["event_id"]),
            "user_message": self._on_user_message,
            "user_activity": lambda _: self._user_acted(),
            "contextual_update": lambda event: self.notes.add_context(event["text"], event.get("context_id")),
            "client_tool_result": self._tools.take_result,
            "mcp_tool_approval_result": lambda _: None,  # no tool of ours asks for approval
            "feedback": lambda event: self.notes.set_feedback(event["event_id"], event["score"]),
            "multimodal_message": self._on_multimodal_message,
        }
        self._alarms: Mapping[str, Action] = {
            "initiation": lambda: self._begin({}),
            "ping": self._on_ping_due,
            "input": self._on_input_timeout,
            "max_duration": lambda: self._end(1000, "max_duration_exceeded", error_type="max_duration_exceeded"),
            "turn": self._on_turn_timeout,
            "silence": lambda: self._end(1000, "silence_end_call_timeout"),
            "tool": self._tools.time_out,
        }

    # --- For others' threads

    def start(self) -> None:
        """Begin: the first event, or the time without one, opens the conversation."""
        self._thread.start()

    def receive(self, event: Mapping[str, Any]) -> None:
        """Take one client event; blocks while too many wait, so that the client's own socket slows it.

        Raises:
            TimeoutError: the agent is stuck.
        """
        self._post(partial(self._on_event, event))

    def refuse(self, error: RequestError) -> None:
        """End the conversation because of what the client sent, such as text that is no JSON."""
        self._post(partial(self._end, error.close_code, error.message, error_type=error.code))

    def close(self) -> None:
        """End everything at once, without a word; idempotent, from any thread.

        A transcription that runs is not waited for: its result is dropped.
        """
        self._mailbox.close()
        self._mouth_worker.close()
        self._ears_worker.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=STUCK_SECONDS)

    # --- The agent's thread

    def _run(self) -> None:
        wait = self._initiation_seconds if self._opening is None else 0.0
        self._timers.set("initiation", time.monotonic() + wait)
        try:
            while not self._mailbox.closed:
                self._guarded(self._mailbox.take(self._next_deadline()))
        except SocketError:
            log.debug("the client is gone", conversation_id=self._conversation_id)
        finally:
            self._mouth.drop()
            self.close()
        if self._ending is not None:
            self._on_end(*self._ending)

    def _guarded(self, action: Action | None) -> None:
        try:
            if action is not None:
                action()
            self._on_time()
        except RequestError as exc:
            self._end(exc.close_code, exc.message, error_type=exc.code)
        except SocketError:
            raise
        except Exception:  # the worker loop: the client must be told, whatever it was
            log.exception("the local agent failed", conversation_id=self._conversation_id)
            self._end(1011, "Internal server error", error_type="unknown_websocket_crash")

    def _on_time(self) -> None:
        for name in self._timers.take_due(time.monotonic()):
            if self._ending is None:
                self._alarms[name]()
        if self._ending is None:
            self._mouth.advance()

    def _next_deadline(self) -> float | None:
        times = [at for at in (self._timers.next_at, self._mouth.next_at) if at is not None]
        return min(times, default=None)

    def _emit(self, event: Event) -> None:
        if self._profile.sends(event["type"]) and not self._mailbox.closed:
            self._send(event)

    def _end(self, code: int, reason: str, *, error_type: str | None = None) -> None:
        if self._ending is not None:
            return
        self._ending = (code, reason)
        if error_type is not None:
            self._emit(events.error(code, reason, error_type))
        self._mailbox.close()

    # --- Opening

    def _begin(self, initiation: Mapping[str, Any]) -> None:
        self._begun = True
        self._timers.clear("initiation")
        opening = self._opening
        if opening is None:
            self._profile, variables = read_initiation(self._profile, initiation, conversation_id=self._conversation_id)
            opening = Opening(variables=variables, greets=True)
        profile, self._variables = self._profile, opening.variables
        if not profile.text_only:
            self._listener = self._open_listener(profile)
        self._emit(events.metadata(self._conversation_id, profile.output_format, profile.input_format))
        self._emit(events.asr_metadata())
        now = self._last_input = time.monotonic()
        self._timers.set("ping", now)
        self._timers.set("input", now + profile.input_timeout_seconds)
        self._timers.set("max_duration", now + profile.max_duration_seconds)
        self._say_first(opening, profile)

    def _say_first(self, opening: Opening, profile: AgentProfile) -> None:
        if opening.farewell:
            self._say(self._next_event_id(), opening.farewell, then_end=True)
        elif opening.question:
            self._answer_question(self._next_event_id(), opening.question)
        elif opening.splice is not None:
            self._mouth.say(self._next_event_id(), opening.splice.whole, profile, splice=opening.splice)
        elif opening.greets and profile.first_message.strip():
            text = fill_variables(profile.first_message, self._variables, place="first message")
            self._say(self._next_event_id(), text)
        else:
            self._await_user()

    def _open_listener(self, profile: AgentProfile) -> Listener:
        return Listener(
            self._ears, input_format=profile.input_format, language=profile.expected_language,
            worker=self._ears_worker, post=self._post, on_started=self._user_takes_turn,
            on_transcript=self._on_transcript, on_nothing=self._user_acted,
            on_question=lambda question: self._answer_question(self._event_id, question),
            on_deaf=lambda: self._say(self._next_event_id(), self._profile.words.cannot_hear),
        )  # fmt: skip

    # --- What the client sends

    def _on_event(self, event: Mapping[str, Any]) -> None:
        kind = events.read_kind(event)
        if kind is None and not self._profile.refuse_unknown_events:
            return
        opens = kind in (events.INITIATION, events.ORCHESTRATOR_SETUP)
        if kind is None or (opens and self._begun):
            raise RequestError("Invalid message received", code="invalid_message")
        if kind == events.ORCHESTRATOR_SETUP:
            return
        if not self._begun:
            self._begin(event if opens else {})
        if kind != "pong":
            self._last_input = time.monotonic()
        if kind in self._handlers:
            self._handlers[kind](event)

    def _on_audio(self, event: Mapping[str, Any]) -> None:
        if self._listener is None:
            return
        self._listener.feed(event[events.USER_AUDIO])
        now = time.monotonic()
        if now - self._last_vad_score >= VAD_SCORE_SECONDS:
            self._last_vad_score = now
            self._emit(events.vad_score(1.0 if self._listener.user_is_speaking else 0.0))

    def _on_transcript(self, text: str) -> None:
        event_id = self._next_event_id()
        self._emit(events.tentative_user_transcript(event_id, text))
        self._emit(events.user_transcript(event_id, text))

    def _on_user_message(self, event: Mapping[str, Any]) -> None:
        text = (event.get("text") or "").strip()
        if not text:
            self._user_acted()
            return
        self._user_takes_turn()
        if self._listener is not None:
            self._listener.forget()
        self._answer_question(self._next_event_id(), text)

    def _on_multimodal_message(self, event: Mapping[str, Any]) -> None:
        written = event.get("text") or {}
        if isinstance(written.get("text"), str) and written["text"].strip():
            self._on_user_message(written)
        elif event.get("file") or event.get("files"):
            self._user_takes_turn()
            self._say(self._next_event_id(), self._profile.words.cannot_see)

    # --- Answering

    def _answer_question(self, event_id: int, question: str) -> None:
        question = question[:MAX_QUESTION_CHARACTERS]
        self._give_up_answer()
        if tool := self._profile.tool_by_words(question):
            self._tools.call(ToolCall(tool, event_id))
        elif self._profile.goodbye.matches_words(question):
            self._say(event_id, self._profile.words.farewell, then_end=True)
        else:
            language = self._profile.expected_language
            context = [text for text in (self._profile.prompt, *self.notes.contexts) if text]
            self._thinker.think(event_id, question, language=language, history=self._history.turns, context=context)
        self._history.note("user", question)

    def _on_reply(self, event_id: int, reply: Reply) -> None:
        self._profile = self._profile.in_language(reply.language)
        if tool := self._profile.tool_by_topic(reply.topic):
            self._tools.call(ToolCall(tool, event_id))
            return
        text = fill_variables(reply.text, self._variables, place="answer")
        self._say(event_id, text, then_end=reply.topic in self._profile.goodbye.topics)

    def _say(self, event_id: int, text: str, *, then_end: bool = False) -> None:
        self._give_up_answer()
        self._timers.clear("turn", "silence")
        self._farewell_id = event_id if then_end else None
        self._mouth.say(event_id, text, self._profile)

    def _on_said(self, answer: Answer) -> None:
        if answer.event_id != self._farewell_id:
            self._await_user()
            return
        call = ToolCall(None, answer.event_id)
        self._emit(call.request())
        self._emit(call.response(is_error=False))
        self._end(1000, "Agent ended the conversation")

    def _give_up_answer(self) -> None:
        """Let nothing come of an answer that is looked for or waits for a tool."""
        self._thinker.give_up()
        self._tools.give_up()
        self._farewell_id = None

    def _on_tool_result(self, call: ToolCall, result: Any, is_error: bool) -> None:
        if is_error:
            self._say(call.event_id, self._profile.words.tool_failed)
            return
        said = fill_variables(call.template(self._profile.language), self._variables, place="answer")
        self._say(call.event_id, call.put_in(said, result))

    # --- Whose turn it is

    def _user_takes_turn(self) -> None:
        """The user begins to speak or writes: whatever the agent says or is about to say ends."""
        self._nudges = 0
        self._timers.clear("turn", "silence")
        self._give_up_answer()
        self._mouth.interrupt()

    def _user_acted(self) -> None:
        """The user is there, and does not take the turn."""
        self._nudges = 0
        if not self._mouth.is_busy:
            self._await_user()

    def _await_user(self) -> None:
        now = time.monotonic()
        patience = self._profile.turn_timeout_seconds
        if patience is not None and not self._profile.text_only and self._nudges < MAX_NUDGES:
            self._timers.set("turn", now + patience)
        if self._profile.silence_end_call_seconds is not None:
            self._timers.set("silence", now + self._profile.silence_end_call_seconds)

    def _on_turn_timeout(self) -> None:
        if self._thinker.is_busy or self._tools.is_busy:
            return
        self._nudges += 1
        self._say(self._next_event_id(), self._profile.words.still_there)

    def _on_input_timeout(self) -> None:
        due = self._last_input + self._profile.input_timeout_seconds
        if due <= time.monotonic():
            self._end(1002, "transport_receive_timeout", error_type="transport_receive_timeout")
        self._timers.set("input", due)

    def _on_ping_due(self) -> None:
        self._timers.set("ping", time.monotonic() + self._ping_seconds)
        self._emit(self._pings.next())

    def _next_event_id(self) -> int:
        self._event_id += 1
        return self._event_id

    def _post(self, action: Action) -> bool:
        return self._mailbox.put(action, timeout=STUCK_SECONDS)
