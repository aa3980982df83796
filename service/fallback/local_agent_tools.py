"""The agent's tools: one call of a tool (of the client's, or the agent's own `end_call`), and the desk for calls.

The key decision: a call knows the events that tell of it, so that its name, id and type are the same in all of them.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from service.fallback import local_agent_events as events
from service.fallback.local_agent_events import Event
from service.fallback.local_agent_profile import ClientTool
from service.fallback.local_agent_threads import Timers

MAX_RESULT_CHARACTERS = 2_000


class ToolCall:
    """A call within the turn `event_id`; `tool` is None for the system's `end_call`."""

    def __init__(self, tool: ClientTool | None, event_id: int) -> None:
        self.event_id = event_id
        self.call_id = f"tool_{uuid.uuid4().hex}"
        self._tool = tool
        self._name = tool.name if tool else "end_call"
        self._type = "client" if tool else "system"

    @property
    def timeout_seconds(self) -> float:
        """How long the client may take."""
        return self._tool.timeout_seconds if self._tool else 0.0

    def request(self) -> Event:
        """Make the event for clients that watch the agent's tools."""
        return events.agent_tool_request(self.event_id, self._name, self.call_id, self._type)

    def to_client(self) -> Event:
        """Make the event that asks the client to run the tool."""
        parameters = self._tool.parameters if self._tool else {}
        return events.client_tool_call(self.event_id, self._name, self.call_id, parameters)

    def response(self, *, is_error: bool) -> Event:
        """Make the event that tells watchers how it went."""
        return events.agent_tool_response(self.event_id, self._name, self.call_id, self._type, is_error=is_error)

    def template(self, language: str) -> str:
        """Return the sentence for the result, in the language or in the first that there is."""
        answers = self._tool.answers if self._tool else {}
        return answers.get(language) or next(iter(answers.values()), "{result}")

    def put_in(self, template: str, result: Any) -> str:
        """Put the client's result into the sentence; what is not text is written as JSON."""
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
        return template.replace("{result}", text.strip()[:MAX_RESULT_CHARACTERS])


class ToolDesk:
    """Calls the client's tools, one at a time, and takes the results; for the agent's thread.

    `on_result(call, result, is_error)` is told how it went. The timer "tool" is the desk's.
    """

    def __init__(
        self, *, timers: Timers, emit: Callable[[Event], None], on_result: Callable[[ToolCall, Any, bool], None]
    ) -> None:
        self._timers = timers
        self._emit = emit
        self._on_result = on_result
        self._call: ToolCall | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a result is awaited."""
        return self._call is not None

    def call(self, call: ToolCall) -> None:
        """Ask the client to run a tool, and want no earlier call's result any more."""
        self._call = call
        self._timers.set("tool", time.monotonic() + call.timeout_seconds)
        self._emit(call.request())
        self._emit(call.to_client())

    def take_result(self, event: Mapping[str, Any]) -> None:
        """Take a result of the client's; one that is late means nothing, because the talk has moved on."""
        if self._call is not None and event["tool_call_id"] == self._call.call_id:
            self._finish(event["result"], is_error=bool(event.get("is_error")))

    def time_out(self) -> None:
        """The client has taken too long."""
        self._finish("", is_error=True)

    def give_up(self) -> None:
        """Want no result any more."""
        self._call = None
        self._timers.clear("tool")

    def _finish(self, result: Any, *, is_error: bool) -> None:
        if (call := self._call) is not None:
            self.give_up()
            self._emit(call.response(is_error=is_error))
            self._on_result(call, result, is_error)
