"""What was said in the sandbox's conversations, as `GET /v1/convai/conversations/{id}` tells it.

The key decision: a record is made from the events that went over the wire, so it can be held against what a client
says it saw. Only the latest conversations are kept, and only so many utterances of each.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any

KEPT_CONVERSATIONS = 500
KEPT_UTTERANCES = 500
MAX_MESSAGE_CHARACTERS = 5_000
CREDITS_PER_MINUTE = 1_000


class ConversationRecord:
    """One conversation; safe from several threads."""

    def __init__(self, conversation_id: str, agent_id: str, agent_name: str, authorization: str) -> None:
        self.conversation_id = conversation_id
        self.agent_id = agent_id
        self._agent_name = agent_name
        self._authorization = authorization
        self._lock = threading.Lock()
        self._started_unix = time.time()
        self._started = time.monotonic()
        self._seconds: float | None = None
        self._ending: tuple[int, str] | None = None
        self._transcript: list[dict[str, Any]] = []
        self._spoken_characters = 0
        self._said: deque[dict[str, Any]] = deque(maxlen=KEPT_UTTERANCES)
        self._struck_unix: float | None = None
        self.user_id: str | None = None
        self._likes: dict[str, int] = {"like": 0, "dislike": 0}
        self._rating: dict[str, Any] = {}

    def note_sent(self, event: Mapping[str, Any]) -> None:
        """Note an event of the server's."""
        kind = event["type"]
        if kind == "agent_response":
            answer = event["agent_response_event"]
            with self._lock:
                text, event_id = answer["agent_response"], answer["event_id"]
                self._said.append({"event_id": event_id, "text": text, "at": time.time()})
            self._add("agent", answer["agent_response"], answer["event_id"])
        elif kind == "user_transcript":
            said = event["user_transcription_event"]
            self._add("user", said["user_transcript"], said["event_id"])
        elif kind == "interruption":
            self._amend(event["interruption_event"]["event_id"], interrupted=True)
        elif kind == "agent_response_correction":
            correction = event["agent_response_correction_event"]
            self._amend(correction["event_id"], message=correction["corrected_agent_response"])
        elif kind == "client_tool_call":
            call = event["client_tool_call"]
            self._add("agent", None, call["event_id"], tool_calls=[dict(call)])

    def note_received(self, event: Mapping[str, Any]) -> None:
        """Note an event of the client's; what is not as it should be is left to the agent to refuse."""
        text = event.get("text")
        if event.get("type") == "conversation_initiation_client_data" and isinstance(event.get("user_id"), str):
            self.user_id = event["user_id"]
        if event.get("type") == "user_message" and isinstance(text, str) and text.strip():
            self._add("user", text, None)
        elif event.get("type") == "feedback" and event.get("score") in ("like", "dislike"):
            with self._lock:
                self._likes[event["score"]] += 1

    def note_end(self, code: int, reason: str) -> None:
        """Note how it ended; only the first end counts."""
        with self._lock:
            if self._ending is None:
                self._ending = (code, reason)
                self._seconds = time.monotonic() - self._started

    def note_struck(self) -> None:
        """Note that a fault has begun; only the first time counts."""
        with self._lock:
            if self._struck_unix is None:
                self._struck_unix = time.time()

    def account(self) -> dict[str, Any]:
        """Give what ElevenLabs does not tell: every text that was to be spoken, and when a fault struck.

        `said` are the agent's answers, whole, however much of them was heard; times are Unix seconds.
        """
        with self._lock:
            code, reason = self._ending or (None, "")
            return {
                "conversation_id": self.conversation_id,
                "agent_id": self.agent_id,
                "user_id": self.user_id,
                "said": list(self._said),
                "struck_at": self._struck_unix,
                "ended": None if code is None else {"code": code, "reason": reason},
            }

    def rate(self, rating: Mapping[str, Any]) -> None:
        """Keep the user's judgement of the whole."""
        with self._lock:
            self._rating = dict(rating)

    def summary(self) -> dict[str, Any]:
        """Give the conversation as a list shows it."""
        with self._lock:
            return {
                "agent_id": self.agent_id,
                "agent_name": self._agent_name,
                "conversation_id": self.conversation_id,
                "start_time_unix_secs": int(self._started_unix),
                "call_duration_secs": round(self._duration()),
                "message_count": len(self._transcript),
                "status": self._status(),
                "termination_reason": self._ending[1] if self._ending else "",
                "call_successful": "unknown",
            }

    def details(self) -> dict[str, Any]:
        """Give the whole conversation."""
        with self._lock:
            code, reason = self._ending or (None, "")
            credits = round(self._duration() / 60 * CREDITS_PER_MINUTE)
            failed = code is not None and code not in (1000, 1001, 1005)
            return {
                "agent_id": self.agent_id,
                "conversation_id": self.conversation_id,
                "status": self._status(),
                "transcript": [dict(entry) for entry in self._transcript],
                "metadata": {
                    "start_time_unix_secs": int(self._started_unix),
                    "call_duration_secs": round(self._duration()),
                    "cost": credits if self._ending else None,
                    "charging": {
                        "is_burst": False,
                        "llm_price": 0.0,
                        "call_charge": credits if self._ending else None,
                        "tts_usage": {"total_characters": self._spoken_characters},
                    },
                    "termination_reason": reason,
                    "error": {"code": code, "reason": reason} if failed else None,
                    "authorization_method": self._authorization,
                    "feedback": {
                        "likes": self._likes["like"],
                        "dislikes": self._likes["dislike"],
                        "overall_score": self._rating.get("feedback") or self._rating.get("rating"),
                    },
                },
                "has_audio": False,
                "has_user_audio": False,
                "has_response_audio": False,
            }

    def _add(self, role: str, message: str | None, event_id: int | None, **more: Any) -> None:
        entry = {
            "role": role,
            "message": message[:MAX_MESSAGE_CHARACTERS] if message else message,
            "time_in_call_secs": round(time.monotonic() - self._started),
            "interrupted": False,
            "source_event_id": event_id,
            **more,
        }
        with self._lock:
            if role == "agent":
                self._spoken_characters += len(message or "")
            if len(self._transcript) < KEPT_UTTERANCES:
                self._transcript.append(entry)

    def _amend(self, event_id: int, **changes: Any) -> None:
        with self._lock:
            for entry in reversed(self._transcript):
                if entry["source_event_id"] == event_id and entry["role"] == "agent":
                    entry.update(changes)
                    return

    def _duration(self) -> float:
        return time.monotonic() - self._started if self._seconds is None else self._seconds

    def _status(self) -> str:
        if self._ending is None:
            return "in-progress"
        return "failed" if self._ending[0] in (1002, 1008, 1011) else "done"


class ConversationRecords:
    """The latest conversations, by id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: OrderedDict[str, ConversationRecord] = OrderedDict()

    def add(self, record: ConversationRecord) -> None:
        """Keep one more, and forget the oldest of too many."""
        with self._lock:
            self._records[record.conversation_id] = record
            if len(self._records) > KEPT_CONVERSATIONS:
                self._records.popitem(last=False)

    def find(self, conversation_id: str) -> ConversationRecord | None:
        """Return the conversation of that id, if it is still known."""
        with self._lock:
            return self._records.get(conversation_id)

    def remove(self, conversation_id: str) -> None:
        """Forget a conversation, if it is still known."""
        with self._lock:
            self._records.pop(conversation_id, None)

    def of_user(self, user_id: str | None) -> list[ConversationRecord]:
        """Return the conversations of a user (None: of everybody), oldest first."""
        with self._lock:
            return [record for record in self._records.values() if user_id in (None, record.user_id)]

    def latest(self, *, agent_id: str | None, limit: int) -> list[ConversationRecord]:
        """Return the latest conversations, newest first."""
        with self._lock:
            records = [record for record in self._records.values() if agent_id in (None, record.agent_id)]
        return records[::-1][:limit]
