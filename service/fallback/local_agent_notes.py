"""What the client told the agent without asking anything: context, and likes and dislikes. All of it is bounded.

The key decision: a lock of its own, because reports read it while the conversation runs.
"""

from __future__ import annotations

import threading
import uuid

KEPT_CONTEXTS = 50
KEPT_FEEDBACK = 200
MAX_CONTEXT_CHARACTERS = 2_000


class Notes:
    """The notes of one conversation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contexts: dict[str, str] = {}
        self._feedback: dict[int, str] = {}

    @property
    def contexts(self) -> tuple[str, ...]:
        """The contextual updates in force, oldest first."""
        with self._lock:
            return tuple(self._contexts.values())

    @property
    def feedback(self) -> dict[int, str]:
        """Likes and dislikes by the event id of what it is about."""
        with self._lock:
            return dict(self._feedback)

    def add_context(self, text: str, context_id: str | None) -> None:
        """Keep an update; of those with one `context_id` only the latest is kept, as the newest of all."""
        key = context_id or uuid.uuid4().hex
        with self._lock:
            self._contexts.pop(key, None)
            self._contexts[key] = text[:MAX_CONTEXT_CHARACTERS]
            if len(self._contexts) > KEPT_CONTEXTS:
                del self._contexts[next(iter(self._contexts))]

    def set_feedback(self, event_id: int, score: str | None) -> None:
        """Keep the user's score; None takes it back."""
        with self._lock:
            self._feedback.pop(event_id, None)
            if score is not None and len(self._feedback) < KEPT_FEEDBACK:
                self._feedback[event_id] = score
