"""A conversation with a `LocalAgent` as a test sees it: events in, events out, and waiting for what must come."""

from __future__ import annotations

import base64
import threading
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from service.fallback.local_agent import LocalAgent
from service.fallback.local_agent_hearing import Ears
from service.fallback.local_agent_profile import AgentProfile, ClientTool, Trigger
from service.fallback.local_agent_speech import Pace
from service.fallback.local_agent_thinking import Dialogue
from service.fallback.local_voice import Voice
from tests.unit.fallback_agent.contract import contract_if_there

LIMIT = 10.0
INITIATION = "conversation_initiation_client_data"
LONG_GREETING = (
    "Hello and welcome to our little shop. We sell books and maps and globes. "
    "Please ask me whatever you like about them, I have all the time in the world."
)
# Sound is made at once and sent at once, so a test never waits for a pace that it does not look at.
AT_ONCE = Pace(factor=float("inf"), part_seconds=0.0)

TELL_TIME = ClientTool(
    "get_local_time",
    trigger=Trigger(phrases=("what time is it on my device",)),
    answers={"en": "On your device it is {result}."},
    parameters={"format": "HH:mm"},
    timeout_seconds=5.0,
)


def profile(**changes: Any) -> AgentProfile:
    """A talkative agent that is never in a hurry; `changes` are fields of `AgentProfile`."""
    usual: dict[str, Any] = {
        "languages": ("en", "es"),
        "first_messages": {"en": LONG_GREETING, "es": "Hola, bienvenido a nuestra tienda."},
        "turn_timeout_seconds": None,
        "tools": (TELL_TIME,),
    }
    return AgentProfile("agent_test", **{**usual, **changes})


class Talk:
    """One conversation. Every event is held against ElevenLabs' contract where that is at hand."""

    def __init__(
        self,
        agent_profile: AgentProfile,
        *,
        dialogue: Dialogue,
        voice: Voice,
        ears: Ears | None = None,
        pace: Pace = AT_ONCE,
        **options: Any,
    ) -> None:
        self._changed = threading.Condition()
        self._events: list[dict[str, Any]] = []
        self._contract = contract_if_there()
        self._contract_errors: list[Exception] = []
        self.ending: tuple[int, str] | None = None
        self.agent = LocalAgent(
            agent_profile,
            conversation_id="conv_test",
            dialogue=dialogue,
            voice=voice,
            ears=ears,
            emit=self._take,
            on_end=self._ended,
            pace=pace,
            **{"ping_seconds": 60.0, **options},
        )
        self.agent.start()

    # --- What the agent does

    def _take(self, event: dict[str, Any]) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()
        if self._contract is not None:
            try:
                self._contract.check_server_event(event)
            except Exception as exc:
                self._contract_errors.append(exc)

    def _ended(self, code: int, reason: str) -> None:
        with self._changed:
            self.ending = (code, reason)
            self._changed.notify_all()

    # --- What the test does

    def send(self, kind: str, **fields: Any) -> None:
        """Send a client event."""
        self.agent.receive({"type": kind, **fields})

    def open(self, **fields: Any) -> None:
        """Send the initiation and wait for the metadata."""
        self.send(INITIATION, **fields)
        self.wait_for("conversation_initiation_metadata")

    def write(self, text: str) -> None:
        """Send a written message of the user's."""
        self.send("user_message", text=text)

    def say(self, recording: Path, *, chunk_seconds: float = 0.1, silence_seconds: float = 1.0) -> None:
        """Send a recording as sound, and silence after it, as fast as it is taken."""
        sound, rate = read_wav(recording)
        sound += bytes(int(silence_seconds * rate) * 2)
        size = int(chunk_seconds * rate) * 2
        for begin in range(0, len(sound), size):
            self.agent.receive({"user_audio_chunk": base64.b64encode(sound[begin : begin + size]).decode()})

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The events so far, of one type or all."""
        with self._changed:
            return [event for event in self._events if kind in (None, event["type"])]

    def kinds(self) -> list[str]:
        """The types of all events so far, in order."""
        return [event["type"] for event in self.events()]

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition that events or the end bring about."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(condition()) or self._contract_errors, LIMIT):
                raise AssertionError(
                    f"in {LIMIT} s there was no {what}; there were {[e['type'] for e in self._events]}"
                )
        self.check()

    def wait_for(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`-th event of a type and return it."""
        self.wait_until(lambda: len(self.events(kind)) >= count, f"{count}. {kind}")
        return self.events(kind)[count - 1]

    def wait_for_answer(self, count: int) -> str:
        """Wait for the `count`-th answer (the greeting is the first) and return its text."""
        answer: str = self.wait_for("agent_response", count)["agent_response_event"]["agent_response"]
        return answer

    def wait_for_end(self) -> tuple[int, str]:
        """Wait until the agent has ended the conversation."""
        self.wait_until(lambda: self.ending is not None, "end")
        assert self.ending is not None
        return self.ending

    def check(self) -> None:
        """Fail for an event that broke the contract."""
        if self._contract_errors:
            raise self._contract_errors[0]

    def close(self) -> None:
        self.agent.close()
        self.check()


def event_id(event: Mapping[str, Any]) -> int:
    """The event id inside an event's payload."""
    found: int = next(value["event_id"] for name, value in event.items() if name != "type")
    return found


def sound_of(event: Mapping[str, Any]) -> bytes:
    """The sound in an audio event."""
    return base64.b64decode(event["audio_event"]["audio_base_64"])


def read_wav(path: Path) -> tuple[bytes, int]:
    """The samples (s16le mono) and the rate of a recording."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return file.readframes(file.getnframes()), file.getframerate()
