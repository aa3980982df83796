"""The course of a conversation, learned from its events: whose words are whose, and who has to speak now.

The key decision: events are taken in whatever order they come, and each order has its place here: sound before its text
or text before its sound; a user's transcript behind the answer to it; the interruption by a typed message behind that
message, while sound of the old answer still comes; several texts in one turn; a greeting and "are you still there?"
without a question. Where it stays open what an event means, nobody is taken to owe anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from service.conversation.audible import Audibility
from service.conversation.event_fields import Message, event_id_of, field_of
from service.conversation.exchange import Exchange, PastTalk, exchange_of_correction, is_interruption_of_previous
from service.conversation.sound_format import DEFAULT_FORMAT, read_sound_format
from service.conversation.spoken import AnswerOnItsWay, SpeakingPace
from service.conversation.spoken_text import are_versions, has_words
from service.conversation.tool_use import ToolUse
from service.conversation.turn_account import TurnAccount, TurnListener

_TYPED_GAP_SECONDS = 0.3
_VOICE_SCORE = 0.5
_LONG_AGO = float("-inf")


class Course:
    """One conversation, for one thread; `clock` gives monotonic seconds, `listener` hears of its turns. Unless
    `is_sound_told` (`audio` is called), the time that a text takes tells when it was said."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        listener: TurnListener | None = None,
        is_sound_told: bool = False,
    ) -> None:
        self._clock = clock or time.monotonic
        self._account = TurnAccount(listener)
        self._format = read_sound_format(DEFAULT_FORMAT)
        self._pace = SpeakingPace()
        self._past = PastTalk()
        self._text_only = self._has_voice = self._is_heard = False
        self._is_sound_told = is_sound_told
        self._opened_at: float | None = None
        self._may_greet = True
        self._previous: Exchange | None = None
        self._exchange = self._new_exchange(_LONG_AGO)
        self._sounding = self._exchange  # the one that sound is of: the one before, while that is still coming
        self._reset_leg()

    def _reset_leg(self) -> None:
        self._awaiting_since: float | None = None
        self._voice_at = _LONG_AGO
        self._user_speaks = self._was_cut_short = self._expects_interruption = self._is_with_people = False
        self._tools = ToolUse()
        self._answer_seconds: float | None = None
        self.has_answered = False
        """Whether the leg that speaks now has been heard, or read where there is no sound."""

    # --- What is set and fed

    @property
    def text_only(self) -> bool:
        """Whether the client asked for no sound. Set by who knows; an agent that sends none on its own is seen."""
        return self._text_only

    @text_only.setter
    def text_only(self, value: bool) -> None:
        self._text_only = value
        self._expect_sound()

    @property
    def output_format(self) -> str:
        """The name of the sound's format; set by who knows, before there is sound."""
        return f"{self._format.codec}_{self._format.sample_rate}"

    @output_format.setter
    def output_format(self, name: str) -> None:
        self._format = read_sound_format(name)
        if not self._exchange.answer.has_sound:
            self._exchange.answer.set_format(self._format)
            self._exchange.listen_anew(self._format)

    def audio(self, data: bytes | bytearray, begin: int, end: int, event_id: int | None = None) -> None:
        """A message of audio that goes to the client, `data[begin:end]`, with the agent's own id of it."""
        exchange, previous = self._sounding, self._previous
        if event_id is not None and previous is not None and event_id == previous.answer.event_id:
            if event_id != self._exchange.answer.event_id:
                exchange = previous  # somebody types before an answer's first sound
        elif exchange is not self._exchange and self._clock() > exchange.answer.ends_at:
            exchange = self._sounding = self._exchange  # the old one has been played; what comes now is new
        exchange.answer.audio_message(data, begin, end)
        if exchange.is_listened_to:
            self._listen(exchange, data, begin, end)

    def from_agent(self, kind: str, message: Message) -> None:
        """An event of the agent's that is no audio and goes to the client."""
        if (handler := _HANDLERS.get(kind)) is not None:
            handler(self, message, self._clock())

    def from_client(self, message: Message) -> None:
        """A message of the client's that is no audio."""
        kind = message.get("type")
        if kind == "user_message":
            self._on_typed(message.get("text"))
        elif kind == "multimodal_message":
            self._on_typed(field_of(message, "text", "text"))
        elif kind == "client_tool_result":
            self._tools.answers(message.get("tool_call_id"), self._clock())

    # --- Who has to speak

    @property
    def awaiting_since(self) -> float | None:
        """Since when an answer is due (monotonic seconds): the end of the user's words, or of what was heard of the
        user's voice behind them. None if none is."""
        since = self._awaiting_since
        if since is None or self._opened_at is None or self._is_with_people:
            return None
        return max(since, self._words_end_at())

    def _words_end_at(self) -> float:
        fading = self._sounding.answer  # which an agent may finish when somebody types meanwhile
        return self._voice_at if fading is self._exchange.answer else max(self._voice_at, fading.ends_at)

    def _await(self, now: float) -> None:
        # A tool holds the agent up: it is the tool's fault, and an agent need not say anything behind it.
        self._awaiting_since = None if self._tools.is_pending and self._tools.was_used_lately(now) else now

    def _take_for_answered(self, now: float, *, is_heard: bool = False) -> None:
        if is_heard:
            self._account.heard(self._exchange, now, words_end_at=self._words_end_at())
        since = self.awaiting_since
        if since is not None:
            self._answer_seconds = max(0.0, now - since)
        self._awaiting_since = None
        self._user_speaks = self._was_cut_short = self._expects_interruption = False
        if not self._tools.is_pending:
            self._exchange.owes_words = False
        self.has_answered = True

    def _is_over(self, answer: AnswerOnItsWay, now: float) -> bool:
        return answer.is_over(now, is_sound_told=self._is_sound_told or self._is_heard)

    def _is_done(self, answer: AnswerOnItsWay, now: float) -> bool:
        return answer.is_complete or self._is_over(answer, now)

    def _settle(self, now: float) -> None:
        answer = self._exchange.answer
        if answer.has_begun and self._is_over(answer, now) and not answer.misses_words:
            answer.settle()

    # --- Exchanges

    def _new_exchange(self, plays_until: float) -> Exchange:
        answer = AnswerOnItsWay(
            clock=self._clock, sound_format=self._format, pace=self._pace, plays_until=plays_until,
            is_written=not self._expects_sound,
        )  # fmt: skip
        return Exchange(answer, self._format)

    def _open_exchange(self, now: float) -> None:
        """Begin another exchange; sound is of the new one."""
        self._account.over(self._exchange, now)
        self._settle(now)
        if self._previous is not None:
            self._account.told(self._previous, is_sound_told=self._is_heard)
            self._previous.answer.finish()
            self._past.add(self._previous.turns)
        self._previous = self._exchange
        self._exchange = self._sounding = self._new_exchange(self._previous.answer.ends_at)

    @property
    def _expects_sound(self) -> bool:
        return self._has_voice and not self._text_only

    def _expect_sound(self) -> None:
        if not self._exchange.answer.has_sound:
            self._exchange.answer.is_written = not self._expects_sound

    def _listen(self, exchange: Exchange, data: bytes | bytearray, begin: int, end: int) -> None:
        now = self._clock()
        self._has_voice = self._is_heard = True
        self._text_only = False
        exchange.answer.is_written = False
        exchange.note_begun(now)
        if exchange.listen(data, begin, end) and exchange is self._exchange:
            self._take_for_answered(now, is_heard=True)

    def sound_begins(self, data: bytes | bytearray, begin: int, end: int, event_id: int | None = None) -> bool:
        """`audio` where sound is not counted; true once it is known whether the answer can be heard."""
        exchange, previous = self._exchange, self._previous
        is_old = event_id is not None and previous is not None and event_id == previous.answer.event_id
        if not is_old and exchange.is_listened_to and exchange.listen(data, begin, end):
            self._has_voice, exchange.answer.is_written = True, False
            self._take_for_answered(self._clock(), is_heard=True)
        return exchange.audible.verdict is not Audibility.UNKNOWN

    def _forget_ids(self) -> None:
        """Another leg counts its events anew."""
        for exchange in (self._exchange, self._previous):
            if exchange is not None:
                exchange.question_id = exchange.answer.event_id = None

    # --- The user's words

    def _on_metadata(self, _message: Message, now: float) -> None:
        if self._opened_at is None:
            self._opened_at = now
            if self._awaiting_since is not None:  # the way to the agent is not the agent's time
                self._awaiting_since = now
                self._account.asked(self._exchange, now)

    def _on_typed(self, text: object) -> None:
        if not isinstance(text, str) or not text.strip():
            return  # not the user's turn: no answer is due
        now = self._clock()
        answer = self._exchange.answer
        if answer.has_sound and answer.is_audible and now - answer.ends_at > _TYPED_GAP_SECONDS and answer.misses_words:
            # A voice may have broken in; who typed has seen it stop.
            self._was_cut_short = self._exchange.is_cut_short = True
        self._take_words(text, now)

    def _on_transcript(self, message: Message, now: float) -> None:
        text = field_of(message, "user_transcription_event", "user_transcript")
        if not isinstance(text, str) or not has_words(text):
            return  # "..." is what ElevenLabs writes for a silence
        event_id = event_id_of(message, "user_transcription_event")
        exchange = self._exchange
        self._has_voice = True
        self._user_speaks = False
        is_known = event_id is not None and event_id == exchange.question_id and bool(exchange.parts)
        if is_known and (not exchange.answer.has_begun or are_versions(exchange.parts[-1], text.strip())):
            exchange.parts[-1] = text.strip()  # the same once more
        elif exchange.is_late_transcript(event_id, now):
            exchange.add_words(text)
            self._account.asked(exchange, exchange.begun_at or now)
        else:
            self._take_words(text, now)
        self._exchange.question_id = event_id

    def _take_words(self, text: str, now: float) -> None:
        old = self._exchange
        if old.answer.has_begun:
            is_played = old.answer.is_interrupted or now > old.answer.ends_at
            is_whole = old.answer.is_complete
            self._account.spoken_over(old, now, is_over=self._is_over(old.answer, now))
            self._open_exchange(now)
            self._expects_interruption = not is_played
            if not is_played and not is_whole:
                self._sounding = old
            if old.answer.is_interrupted and not old.answer.said.strip():  # nothing was heard of it: one question
                self._exchange.parts, old.parts = old.parts, []
        self._exchange.add_words(text)
        self._account.asked(self._exchange, now)
        self._expect_sound()
        self._await(now)

    def _on_tentative_transcript(self, message: Message, now: float) -> None:
        text = field_of(message, "tentative_user_transcription_event", "user_transcript")
        event_id = event_id_of(message, "tentative_user_transcription_event")
        exchange = self._exchange
        is_echo = event_id is not None and event_id == exchange.question_id
        if not isinstance(text, str) or not has_words(text) or is_echo or text.strip() in exchange.parts:
            return
        self._has_voice = self._user_speaks = True
        self._voice_at = now

    def _on_vad_score(self, message: Message, now: float) -> None:
        score = field_of(message, "vad_score_event", "vad_score")
        if isinstance(score, int | float) and score >= _VOICE_SCORE:
            self._has_voice = True
            self._voice_at = now

    def _on_interruption(self, message: Message, now: float) -> None:
        previous, current = self._previous, self._exchange
        expected = self._expects_interruption or self._sounding is previous
        self._expects_interruption = False
        event_id = event_id_of(message, "interruption_event")
        if previous is not None and is_interruption_of_previous(event_id, previous, current, expected=expected):
            plays_until = previous.answer.ends_at
            previous.answer.interrupted()
            current.answer.waits_less(max(0.0, plays_until - previous.answer.ends_at))
            self._sounding = current
            return
        if current.answer.has_begun:
            current.answer.interrupted()
        self._awaiting_since = None
        self._user_speaks = self._has_voice = True
        self._voice_at = now

    # --- The agent's words

    def _on_agent_response(self, message: Message, now: float) -> None:
        text = field_of(message, "agent_response_event", "agent_response")
        if not isinstance(text, str) or not text.strip():
            return
        event_id = event_id_of(message, "agent_response_event")
        exchange = self._exchange_of_text(event_id, text, now)
        exchange.answer.answer_text(event_id, text)
        self._note_words(exchange, now)

    def _on_part(self, message: Message, now: float) -> None:
        text = field_of(message, "text_response_part", "text")
        event_id = event_id_of(message, "text_response_part")
        kind = field_of(message, "text_response_part", "type")
        if isinstance(text, str) and text:
            exchange = self._exchange_of_text(event_id, text, now)
            exchange.answer.answer_part(event_id, text)
            self._note_words(exchange, now)
        if kind == "stop":
            self._exchange.answer.completed()

    def _note_words(self, exchange: Exchange, now: float) -> None:
        exchange.note_begun(now)
        if exchange is self._exchange and not self._expects_sound:
            self._take_for_answered(now)

    def _exchange_of_text(self, event_id: int | None, text: str, now: float) -> Exchange:
        """The exchange whose answer this is a text of; it may be a new one."""
        sounding, answer = self._sounding, self._sounding.answer
        is_known = event_id is not None and event_id == answer.event_id
        if sounding is not self._exchange:
            if is_known:
                return sounding
            self._sounding = self._exchange
            answer = self._exchange.answer
        if answer.is_interrupted:
            if answer.has_text or (event_id is not None and not is_known and answer.event_id is not None):
                self._open_exchange(now)
        elif answer.has_text and not (is_known and are_versions(answer.full_text, text)) and self._is_done(answer, now):
            self._open_exchange(now)  # it speaks again of itself
        return self._exchange

    def _on_correction(self, message: Message, now: float) -> None:
        heard = field_of(message, "agent_response_correction_event", "corrected_agent_response")
        original = field_of(message, "agent_response_correction_event", "original_agent_response")
        if not isinstance(heard, str):
            return
        event_id = event_id_of(message, "agent_response_correction_event")
        exchange = exchange_of_correction((self._exchange, self._previous), original, event_id)
        if exchange is None:
            return
        if exchange is self._exchange and not exchange.answer.is_interrupted:
            self._on_interruption({}, now)
        exchange.answer.corrected(heard)

    def _on_complete(self, _message: Message, _now: float) -> None:
        self._sounding.answer.completed()

    # --- What else an agent does

    def _on_tool_request(self, _message: Message, now: float) -> None:
        self._tools.begins(now)
        self._give_time()

    def _on_tool_call(self, message: Message, now: float) -> None:
        self._tools.is_called(field_of(message, "client_tool_call", "tool_call_id"), now)
        self._give_time()

    def _on_tool_response(self, message: Message, now: float) -> None:
        self._tools.answers(field_of(message, "agent_tool_response", "tool_call_id"), now)
        if field_of(message, "agent_tool_response", "tool_type") == "system":  # skip_turn, end_call, a transfer
            self._exchange.owes_words = False

    def _on_mcp_tool_call(self, message: Message, now: float) -> None:
        if field_of(message, "mcp_tool_call", "state") in {"success", "failure"}:
            self._tools.answers(field_of(message, "mcp_tool_call", "tool_call_id"), now)
        else:
            self._on_tool_request(message, now)

    def _give_time(self) -> None:
        self._awaiting_since = None
        self._exchange.owes_words = True

    def _on_people(self, message: Message, _now: float) -> None:
        """A person has taken the agent's place, or given it back: people take their time."""
        self._is_with_people = message.get("type") == "external_agent_connected"
        self._awaiting_since = None


_HANDLERS: Mapping[str, Callable[[Course, Message, float], None]] = {
    "conversation_initiation_metadata": Course._on_metadata,
    "user_transcript": Course._on_transcript,
    "tentative_user_transcript": Course._on_tentative_transcript,
    "vad_score": Course._on_vad_score,
    "agent_response": Course._on_agent_response,
    "agent_chat_response_part": Course._on_part,
    "agent_response_correction": Course._on_correction,
    "agent_response_complete": Course._on_complete,
    "interruption": Course._on_interruption,
    "client_tool_call": Course._on_tool_call,
    "agent_tool_request": Course._on_tool_request,
    "agent_tool_response": Course._on_tool_response,
    "mcp_tool_call": Course._on_mcp_tool_call,
    "external_agent_connected": Course._on_people,
    "external_agent_disconnected": Course._on_people,
}
