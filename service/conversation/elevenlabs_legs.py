"""Legs at ElevenLabs: the first one of a conversation, and one that goes on with what was said before.

The key decision: a leg that takes over is handed out when it has shown that it is alive, by its metadata, and has been
told everything: the history as context, and the question that is still open as a message. What the client would
otherwise get twice (a greeting) is suppressed by an override, or kept back where the agent does not allow that one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from service.account_limiter import QueuePosition
from service.deadline import within_deadline
from service.elevenlabs.agent_answer import PastTurn
from service.elevenlabs.agent_question import history_as_context
from service.elevenlabs.asking import note_error
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.faults import error_from_event, error_from_exception
from service.elevenlabs.live_conversation import LiveConversation, payload
from service.elevenlabs.vocabulary import DEFAULT_AGENT_AUDIO_FORMAT, ClientEvent, ServerEvent
from service.errors import LimiterTimeoutError, SocketError, UpstreamError, UpstreamProtocolError, UpstreamRequestError
from service.fallback.takeover import Takeover
from service.metrics_elevenlabs import Operation
from service.websocket import Message, WebSocketConnection

METADATA_SECONDS = 3.0
MAX_HELD_MESSAGES = 64
REMEMBERED_AGENTS = 1_000
GREETING_REFUSED = "first_message_override_refused"


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class OpenLeg:
    """A leg that is open. `held` are messages of the agent's that were read on the way, oldest first.

    `provider_conversation_id` is None as long as only the relay will see it. `drops_greeting`: the agent greets,
    although the client has been greeted already.
    """

    provider: str
    socket: WebSocketConnection
    provider_conversation_id: str | None = None
    held: tuple[Message, ...] = ()
    drops_greeting: bool = False


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Who hears of the wait for a slot of the account, of how it ends, and of the slot's loss."""

    on_wait: Callable[[QueuePosition], None] = _nothing
    on_admitted: Callable[[], None] = _nothing
    on_timeout: Callable[[], None] = _nothing
    on_lost: Callable[[], None] = _nothing


@dataclass(frozen=True, kw_only=True)
class LegRequest:
    """What a leg is opened for. `initiation` is the client's first message as it came, on the first leg alone;
    `takeover` is where the conversation stands."""

    takeover: Takeover
    initiation: bytes | None = None
    is_first: bool = False
    waiting: Waiting = field(default_factory=Waiting)


class ElevenLabsLegs:
    """Opens legs at one account of ElevenLabs, which the chain calls `provider`.

    `agent_ids` says which of its agents stands in for one of the first account's; an agent that is not in it has the
    same id.
    """

    def __init__(
        self, service: ElevenLabsService, *, provider: str, agent_ids: Mapping[str, str] | None = None
    ) -> None:
        self._service = service
        self.provider = provider
        self._agent_ids = agent_ids or {}
        # Agents that do not let their greeting be suppressed, newest last.
        self._greet_always: OrderedDict[str, None] = OrderedDict()

    def can_serve(self, takeover: Takeover) -> bool:
        """Not the rest of an answer: an agent says its own words, not those that it is given."""
        return takeover.rest is None

    def open(self, request: LegRequest) -> OpenLeg:
        """Open a leg; raises as `ElevenLabsService.open_conversation`."""
        agent_id = self._agent_ids.get(request.takeover.agent_id, request.takeover.agent_id)
        if request.is_first:
            leg = self._dial(agent_id, request.initiation, request.waiting)
            return OpenLeg(provider=self.provider, socket=leg.socket)
        if agent_id not in self._greet_always:
            try:
                return self._take_over(agent_id, request, suppress_greeting=True)
            except UpstreamRequestError as exc:
                if exc.code != GREETING_REFUSED:
                    raise
            self._greet_always[agent_id] = None
            if len(self._greet_always) > REMEMBERED_AGENTS:
                self._greet_always.popitem(last=False)
        return self._take_over(agent_id, request, suppress_greeting=False)

    def _dial(self, agent_id: str, initiation: bytes | None, waiting: Waiting) -> LiveConversation:
        try:
            leg = self._service.open_conversation(
                agent_id, initiation, on_wait=waiting.on_wait, on_lost=waiting.on_lost
            )
        except LimiterTimeoutError:
            waiting.on_timeout()
            raise
        try:
            waiting.on_admitted()
        except BaseException:  # whatever it is, nobody else would close it
            leg.close()
            raise
        return leg

    def _take_over(self, agent_id: str, request: LegRequest, *, suppress_greeting: bool) -> OpenLeg:
        takeover = request.takeover
        initiation = orjson.dumps(_initiation(takeover.initiation, suppress_greeting=suppress_greeting))
        leg = self._dial(agent_id, initiation, request.waiting)
        try:
            metadata, held = _await_metadata(leg.socket)
            _check_formats(metadata, takeover)
            if takeover.history:
                turns = [PastTurn(role=turn.speaker, text=turn.text) for turn in takeover.history]
                leg.send_event({"type": ClientEvent.CONTEXTUAL_UPDATE, "text": history_as_context(turns)})
            if takeover.question:
                leg.send_event({"type": ClientEvent.USER_MESSAGE, "text": takeover.question})
        except BaseException as exc:  # whatever it is, nobody else would close it
            leg.socket.abort()
            if isinstance(exc, Exception):
                note_error(Operation.CONVERSATION, exc)
            raise
        conversation_id = metadata.get("conversation_id")
        return OpenLeg(
            provider=self.provider,
            socket=leg.socket,
            provider_conversation_id=conversation_id if isinstance(conversation_id, str) else None,
            held=held,
            drops_greeting=not suppress_greeting,
        )


def _initiation(clients: Mapping[str, Any], *, suppress_greeting: bool) -> dict[str, Any]:
    """The client's own initiation, which the agent has accepted once, with no greeting in it."""
    initiation = {**clients, "type": ClientEvent.CONVERSATION_INITIATION_CLIENT_DATA}
    if suppress_greeting:
        override = clients.get("conversation_config_override")
        override = override if isinstance(override, dict) else {}
        agent = override.get("agent")
        agent = agent if isinstance(agent, dict) else {}
        initiation["conversation_config_override"] = {**override, "agent": {**agent, "first_message": ""}}
    return initiation


def _await_metadata(socket: WebSocketConnection) -> tuple[Mapping[str, Any], tuple[Message, ...]]:
    """The metadata's fields, and what came before it."""
    held: list[Message] = []
    deadline = time.monotonic() + within_deadline(METADATA_SECONDS)
    while len(held) <= MAX_HELD_MESSAGES:
        try:
            message = socket.receive(max(0.0, deadline - time.monotonic()))
        except (SocketError, TimeoutError) as exc:
            error: UpstreamError = error_from_exception(exc)
        else:
            event = _parsed(message)
            if event.get("type") == ServerEvent.CONVERSATION_INITIATION_METADATA:
                return payload(event, "conversation_initiation_metadata_event"), tuple(held)
            reported = error_from_event(event) if event.get("type") == ServerEvent.ERROR else None
            if reported is None:
                held.append(message)
                continue
            error = reported
        raise error
    raise UpstreamProtocolError("ElevenLabs sent no metadata", code="missing_metadata")


def _parsed(message: Message) -> Mapping[str, Any]:
    try:
        event = orjson.loads(message.data)
    except orjson.JSONDecodeError:
        event = None  # raised below: the cause would quote the frame
    if not isinstance(event, dict):
        raise UpstreamProtocolError("ElevenLabs sent what is not a JSON object", code="invalid_upstream_message")
    return event


def _check_formats(metadata: Mapping[str, Any], takeover: Takeover) -> None:
    """The client was told the formats once, and cannot be told others."""
    ours = (takeover.output_format, takeover.input_format)
    theirs = (metadata.get("agent_output_audio_format"), metadata.get("user_input_audio_format"))
    if ours != tuple(each or DEFAULT_AGENT_AUDIO_FORMAT for each in theirs):
        raise UpstreamProtocolError("The agent speaks another audio format than before.", code="other_audio_format")
