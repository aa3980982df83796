"""What the agent says, put into the one order that every client understands.

Four rules of the Agents protocol are kept here, whatever ElevenLabs sends and however many legs a conversation has:

* metadata comes first and exactly once (before it the browser SDK hangs for ever; a second one ends a Python session);
* event ids rise over all legs (the Python SDK drops audio whose id is not above the last interruption's, and
  ElevenLabs reuses an id after an interruption at times: elevenlabs-python#829);
* late audio of an interrupted turn is dropped (the browser SDK plays whatever it gets);
* an `error` event has ElevenLabs' nested shape.

Everything else passes through byte for byte. With another leg (`begin_leg`) nothing of this begins anew: its metadata
stays hidden and its ids go on above those of the leg before. No I/O: `handle` gives what it lets through to `send`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from service.conversation.events import peek_audio
from service.elevenlabs.faults import error_from_event
from service.errors import UpstreamProtocolError
from service.event_json import write_event
from service.websocket import Message

# What may come before the metadata is kept so long: far more than ElevenLabs sends, and a bound all the same.
MAX_HELD_MESSAGES = 64
_OPENS_A_TURN = frozenset({"agent_chat_response_part", "agent_response", "user_transcript"})
_SPEAKS = frozenset({"agent_chat_response_part", "agent_response", "audio"})
_OPENS_A_LEG = frozenset({"asr_initiation_metadata", "conversation_initiation_metadata"})
Observe = Callable[[str, Mapping[str, Any]], None]
NoteAudio = Callable[[bytes | bytearray, int, int, int], None]
"""Is shown where an audio message that goes to the client lies, and the agent's own id of it; afterwards the bytes are
its caller's again."""
NoteBegin = Callable[[bytes | bytearray, int, int, int], bool]
"""Is shown the same, and answers whether it has seen enough."""
_IDS_OF_THEIR_OWN = frozenset({"ping"})  # its id comes back in a pong, and counts pings, not turns


def _look_away(_kind: str, _message: Mapping[str, Any]) -> None:
    pass


class AgentStream:
    """One conversation's messages from the agent to the client.

    `send` takes what goes to the client. `observe` is shown the kind and the content of every event among that which is
    no audio, and of the first audio its kind alone; `note_audio`, if given, every message of audio; in its place
    `note_begin` is shown those at the beginning and behind the user's words, until it says that that is enough. With
    `copies` every message goes through `send`, none is passed on where it lies. With `holds_errors` an `error` event
    that is not of a normal end is kept in `error_event`, for who knows whether the conversation ends with it; it goes
    out if the leg goes on all the same.
    """

    __slots__ = (
        "_anchors", "_copies", "_copy", "_dropped", "_drops_greeting", "_held", "_highest", "_holds_errors",
        "_interrupted", "_leg_begins", "_note_audio", "_note_begin", "_observe", "_offset", "_passing_first",
        "_passing_id", "_passing_last", "_plain_note", "_send", "_stretches", "_turn_is_open", "audio_seen",
        "conversation_id", "error_event", "error_seen",
    )  # fmt: skip

    def __init__(
        self,
        send: Callable[[bytes], None],
        *,
        observe: Observe = _look_away,
        note_audio: NoteAudio | None = None,
        note_begin: NoteBegin | None = None,
        copies: bool = False,
        holds_errors: bool = False,
    ) -> None:
        self._send = send
        self._observe = observe
        self._copy: Callable[[bytes], None] | None = None
        self._note_begin = note_begin
        self._note(note_audio if note_begin is None else self._listen)
        self._copies = copies
        self._holds_errors = holds_errors
        self._held: list[bytes] = []
        self._offset = 0
        # (first client-side id, offset) of each stretch of ids, newest last; grows only when ElevenLabs reuses an id.
        self._stretches: list[tuple[int, int]] = [(0, 0)]
        self._interrupted = -1
        self._turn_is_open = True
        # Around the audio of the messages that pass just now: nearly all are alike but for it, since they have the id
        # of their turn.
        self._passing_first = b""
        self._passing_last = b""
        self._passing_id = 0
        # Of the leg that speaks now: the first id that its events have for the client, and the highest so far of any.
        self._leg_begins = 0
        self._highest = 0
        self._anchors = False
        self._drops_greeting = False
        self._dropped: int | None = None
        self.conversation_id: str | None = None
        self.error_event = b""
        self.error_seen = False
        self.audio_seen = False

    @property
    def highest_id(self) -> int:
        """The highest event id that the client has been given."""
        return self._highest

    def restore(self, conversation_id: str, *, highest_id: int) -> None:
        """Go on with a conversation that another worker has led until now."""
        self.conversation_id = conversation_id
        self._highest = highest_id
        self.audio_seen = True
        self.begin_leg()

    def begin_leg(self, *, drops_greeting: bool = False) -> None:
        """Another leg speaks from now on; with `drops_greeting` the client does not get what it says unasked."""
        self._held.clear()
        self._passing_last = b""
        self._turn_is_open = True
        if self.conversation_id is not None:
            self._anchors = True
            self._leg_begins = self._highest + 1
        self._drops_greeting = drops_greeting
        self._dropped = None
        self.error_event = b""
        self.error_seen = False

    def user_speaks(self) -> None:
        """The user has said something: what the leg says from now on is no greeting."""
        self._drops_greeting = False
        if self._note_begin is not None:
            self._note(self._listen)

    def copy_audio_to(self, take: Callable[[bytes], None] | None) -> None:
        """Give `take` a copy of each message of audio that goes to the client from now on; None: no more."""
        self._copy = take
        self._note(self._plain_note)

    def passes(self, data: bytes | bytearray, start: int, end: int) -> bool:
        """Whether the message in `data[start:end]` is like the audio message before it, which passed unchanged."""
        if (
            self._passing_last
            and data.endswith(self._passing_last, start, end)
            and data.startswith(self._passing_first, start)
        ):
            if self._note_audio is not None:
                self._note_audio(data, start, end, self._passing_id)
            return True
        return False

    def count(self, messages: int) -> None:
        """Nothing: ElevenLabs may send as much as it likes."""

    def handle(self, message: Message) -> None:
        """Take one message of the leg that speaks now.

        Raises:
            UpstreamProtocolError: it is not a JSON object, or too much came before the metadata.
        """
        data = message.data
        audio = peek_audio(data)
        if audio is None:
            self._handle_parsed(data)
            return
        self._anchor(audio.event_id)
        event_id = None if self._is_dropped(audio.event_id) else self._client_id(audio.event_id)
        if event_id is None:
            return
        if not self.audio_seen:
            self.audio_seen = True
            self._observe("audio", {})
        if self._offset:
            data = b"%b%d%b" % (data[: audio.id_begin], event_id, data[audio.id_end :])
        elif self.conversation_id is not None and not self._copies:
            self._passing_first, self._passing_last, self._passing_id = audio.first, audio.last, audio.event_id
        self._pass_audio_on(data, audio.event_id)

    def agent_id_of(self, event_id: int) -> int | None:
        """The agent's own id for one that the client names (in `feedback`); None: it is of a leg that is over."""
        if event_id < self._leg_begins:
            return None
        offset = next(offset for first, offset in reversed(self._stretches) if event_id >= first or not first)
        return event_id - offset

    def _listen(self, data: bytes | bytearray, begin: int, end: int, event_id: int) -> None:
        if self._note_begin is None or self._note_begin(data, begin, end, event_id):
            self._note(None)

    def _note(self, note: NoteAudio | None) -> None:
        self._plain_note = note
        self._note_audio: NoteAudio | None = note if self._copy is None else self._note_and_copy

    def _note_and_copy(self, data: bytes | bytearray, begin: int, end: int, event_id: int) -> None:
        if self._copy is not None:
            self._copy(bytes(data[begin:end]))
        if self._plain_note is not None:
            self._plain_note(data, begin, end, event_id)

    def _anchor(self, agent_id: int) -> None:
        """The first id of another leg: it stands for the one above all that the client knows."""
        if self._anchors:
            self._anchors = False
            self._offset = self._leg_begins - agent_id
            self._stretches = [(0, self._offset)]

    def _is_dropped(self, agent_id: int) -> bool:
        """Whether the event of this id belongs to a greeting that the client is not to have."""
        if self._drops_greeting and self._dropped is None:
            self._dropped = agent_id
        return agent_id == self._dropped

    def _client_id(self, agent_id: int) -> int | None:
        event_id = agent_id + self._offset
        if event_id <= self._interrupted:
            if not self._turn_is_open:
                return None  # late audio of the turn that was interrupted
            event_id = self._interrupted + 1
            self._offset = event_id - agent_id
            self._passing_last = b""  # audio of the same id as before has another one now
            self._stretches.append((event_id, self._offset))
        self._highest = max(self._highest, event_id)
        return event_id

    def _handle_parsed(self, data: bytes) -> None:
        try:
            message = orjson.loads(data)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict):
            raise UpstreamProtocolError("ElevenLabs sent what is not a JSON object", code="invalid_upstream_message")
        kind = message.get("type")
        if kind == "conversation_initiation_metadata":
            self._handle_metadata(data, message)
        elif kind == "error":
            self._handle_error(data, message)
        else:
            self._handle_turn_event(data, message, str(kind))

    def _handle_metadata(self, data: bytes, message: dict[str, Any]) -> None:
        if self.conversation_id is not None:
            return
        event = message.get("conversation_initiation_metadata_event")
        self.conversation_id = str(event.get("conversation_id")) if isinstance(event, dict) else ""
        self._observe("conversation_initiation_metadata", message)
        held, self._held = self._held, []
        for message_bytes in (data, *held):
            self._send(message_bytes)

    def _handle_error(self, data: bytes, message: dict[str, Any]) -> None:
        self.error_seen = True
        if not isinstance(message.get("error_event"), dict):  # the flat form, seen in packages#911
            text = str(message.get("message") or "ElevenLabs reported an error.")
            data = write_event({**message, "error_event": {"code": 1011, "message": text}})
        if self._holds_errors and error_from_event(message) is not None:
            self.error_event = data
        else:
            self._send(data)

    def _handle_turn_event(self, data: bytes, message: dict[str, Any], kind: str) -> None:
        if kind in _OPENS_A_LEG and self._leg_begins:
            return
        payload = next((value for value in message.values() if isinstance(value, dict) and "event_id" in value), None)
        if payload is None or not isinstance(payload["event_id"], int) or kind in _IDS_OF_THEIR_OWN:
            self._observe(kind, message)
            self._pass_on(data)
            return
        agent_id = payload["event_id"]
        self._anchor(agent_id)
        if kind in _SPEAKS and self._is_dropped(agent_id):
            return
        if kind == "interruption":
            self._interrupted = max(self._interrupted, agent_id + self._offset)
            self._passing_last = b""
            self._turn_is_open = False
        elif kind in _OPENS_A_TURN:
            self._turn_is_open = True
        event_id: int | None = agent_id + self._offset
        if kind == "audio" or kind in _OPENS_A_TURN:
            event_id = self._client_id(agent_id)
        if event_id is None:
            return
        self._observe(kind, message)
        self._highest = max(self._highest, event_id)
        if event_id != agent_id:
            payload["event_id"] = event_id
            data = write_event(message)
        if kind == "audio":
            self._pass_audio_on(data, agent_id)
        else:
            self._pass_on(data)

    def _pass_audio_on(self, data: bytes, agent_id: int) -> None:
        if self._note_audio is not None:
            self._note_audio(data, 0, len(data), agent_id)
        self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if self.error_event:  # it did not end with it
            error, self.error_event = self.error_event, b""
            self._send(error)
        if self.conversation_id is not None:
            self._send(data)
            return
        self._held.append(data)
        if len(self._held) > MAX_HELD_MESSAGES:
            raise UpstreamProtocolError("ElevenLabs sent no metadata", code="missing_metadata")
