"""Whether a tool holds an agent up.

The key decision: while one does, the agent owes nobody anything, for so long as any tool may take: it is not the
provider's fault, and what an agent does with a tool's answer, if it says anything at all, is for the agent to know.
"""

from __future__ import annotations

TOOL_SECONDS = 30.0
"""So long a tool is taken to be at work; ElevenLabs itself gives up sooner."""


class ToolUse:
    """The tools of one leg; `call_id` is the call that the client has not answered."""

    __slots__ = ("_is_at_work", "_latest", "call_id")

    def __init__(self) -> None:
        self.call_id: str | None = None
        self._is_at_work = False
        self._latest = float("-inf")

    def begins(self, now: float) -> None:
        """The agent uses one of its own."""
        self._is_at_work = True
        self._latest = now

    def is_called(self, call_id: object, now: float) -> None:
        """The client is asked to use one."""
        self.call_id = call_id if isinstance(call_id, str) else None
        self._latest = now

    def answers(self, call_id: object, now: float) -> None:
        """One has answered, or was given up."""
        self._is_at_work = False
        self._latest = now
        if call_id == self.call_id:
            self.call_id = None

    @property
    def is_pending(self) -> bool:
        """Whether one has not answered."""
        return self._is_at_work or self.call_id is not None

    def was_used_lately(self, now: float) -> bool:
        """Whether one was asked or has answered in the last half minute."""
        return now - self._latest < TOOL_SECONDS
