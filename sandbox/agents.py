"""The agents' routes: the conversation socket, signed URLs, and what REST tells of agents and conversations.

The key decision: a refusal after the upgrade closes with ElevenLabs' code and reason, because that is the only thing
that its SDKs can show; HTTP refusals go through `sandbox.errors`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, request
from flask_sock import Sock

from sandbox.agent_views import show_agent, show_agent_row
from sandbox.agents_file import SandboxAgent, load_agents
from sandbox.auth import check_key, key_of_request, require_key
from sandbox.broken_frames import FrameSender
from sandbox.conversation import ROUTE, SandboxConversation, end_socket
from sandbox.conversation_records import ConversationRecord
from sandbox.errors import ApiError, SchemaError
from sandbox.limits import SlotsTakenError
from sandbox.signed_urls import Signatures
from sandbox.state import SandboxState
from service.errors import SocketError
from service.fallback.faq_dialogue import FaqDialogue
from service.websocket import WebSocketConnection, take_over

SOCKET_PATH = "/v1/convai/conversation"
FAQ_FILE = Path(__file__).with_name("faq.yaml")
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_PAGE = 100
NOT_AUTHORIZED = "Could not authorize the conversation"


class _RefusedError(Exception):
    """A conversation is not begun: the socket closes with `code` and `reason`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class _Admission:
    """Whom a client may talk to, under which id, and what allowed it (ElevenLabs' `authorization_method`)."""

    agent: SandboxAgent
    conversation_id: str
    method: str


class CallDesk:
    """The account's agents, and everything that its conversations share."""

    def __init__(self, state: SandboxState, *, agents: Mapping[str, SandboxAgent], dialogue: FaqDialogue) -> None:
        self.state = state
        self.agents = agents
        self.dialogue = dialogue
        self.signatures = Signatures()
        self.records = state.conversations

    def find_agent(self, agent_id: str) -> SandboxAgent:
        """Return an agent; raises ApiError `agent_not_found` (404)."""
        if agent_id not in self.agents:
            message = f"Agent with id '{agent_id[:80]}' does not exist."
            raise ApiError("agent_not_found", message, param="agent_id")
        return self.agents[agent_id]

    def find_record(self, conversation_id: str) -> ConversationRecord:
        """Return a conversation; raises ApiError `conversation_not_found` (404)."""
        record = self.records.find(conversation_id)
        if record is None:
            message = f"Conversation with id '{conversation_id[:80]}' was not found."
            raise ApiError("conversation_not_found", message, param="conversation_id")
        return record

    def serve(self, connection: WebSocketConnection) -> None:
        """Hold the conversation that the present request asks for."""
        fault = self.state.faults.next(ROUTE)
        sender = FrameSender(connection, fault, seed=self.state.options.seed)
        try:
            sender.open()
            admission = self._admit()
            with self._slot(sender):
                record = self._open_record(admission)
                SandboxConversation(
                    connection, admission.agent.profile, state=self.state, dialogue=self.dialogue,
                    sender=sender, fault=fault, record=record,
                ).run()  # fmt: skip
        except _RefusedError as exc:
            end_socket(connection, self.state, exc.code, exc.reason)
        except SocketError:
            pass  # the client is gone, or a fault ended it: there is nobody left to tell
        finally:
            connection.close(1011, "Internal server error")  # only if something above failed: else it is closed

    def _open_record(self, admission: _Admission) -> ConversationRecord:
        profile = admission.agent.profile
        record = ConversationRecord(admission.conversation_id, profile.agent_id, profile.name, admission.method)
        self.records.add(record)
        return record

    def _admit(self) -> _Admission:
        asked_id = request.args.get("agent_id", "")
        conversation_id = _new_conversation_id()
        if token := request.args.get("conversation_signature") or request.args.get("token"):
            grant = self.signatures.redeem(token)
            if grant is None or asked_id not in ("", grant.agent_id) or grant.agent_id not in self.agents:
                raise _RefusedError(3000, NOT_AUTHORIZED)
            return _Admission(self.agents[grant.agent_id], grant.conversation_id or conversation_id, "signed_url")
        if not asked_id:
            raise _RefusedError(1008, "Missing required field: agent_id")
        agent = self.agents.get(asked_id)
        if agent is None:
            raise _RefusedError(3000, "The AI agent you are trying to reach does not exist.")
        if agent.public:
            return _Admission(agent, conversation_id, "public")
        try:
            check_key(self.state, key_of_request() or _subprotocol_key())
        except ApiError:
            raise _RefusedError(3000, NOT_AUTHORIZED) from None
        return _Admission(agent, conversation_id, "authorization_header")

    @contextmanager
    def _slot(self, sender: FrameSender) -> Iterator[None]:
        slots = self.state.limits.agents
        queued = slots.taken >= slots.maximum
        if queued:
            sender.send(_queue_status("waiting"))
        try:
            slots.acquire()
        except SlotsTakenError:
            sender.send(_queue_status("timed_out"))
            raise _RefusedError(3008, "too many concurrent connections") from None
        try:
            if queued:
                sender.send(_queue_status("admitted"))
            yield
        finally:
            slots.release()


def register(app: Flask, sock: Sock, state: SandboxState) -> None:
    """Add the agents' socket and routes.

    Raises:
        ConfigurationError: the agents' file is wrong.
    """
    # Read now: it takes half a second, in which a conversation would stand still, and all others with it.
    desk = CallDesk(state, agents=load_agents(state.options.agents_file), dialogue=FaqDialogue.load(FAQ_FILE))
    routes = Blueprint("agents", __name__)
    _add_socket(routes, sock, desk)
    _add_signed_urls(routes, desk)
    _add_agents(routes, desk)
    _add_conversations(routes, desk)
    app.register_blueprint(routes)


def _add_socket(routes: Blueprint, sock: Sock, desk: CallDesk) -> None:
    @sock.route(SOCKET_PATH, bp=routes, endpoint="conversation")  # type: ignore[untyped-decorator]
    def conversation(handshaken: Any) -> None:
        with desk.state.stats.socket(ROUTE):
            desk.serve(take_over(handshaken, max_message_bytes=MAX_MESSAGE_BYTES))


def _add_signed_urls(routes: Blueprint, desk: CallDesk) -> None:
    @routes.get(f"{SOCKET_PATH}/get-signed-url", endpoint="signed_url")
    @routes.get(f"{SOCKET_PATH}/get_signed_url", endpoint="signed_url_old_name")
    def get_signed_url() -> dict[str, str]:
        require_key(desk.state)
        agent_id = request.args.get("agent_id")
        if not agent_id:
            raise SchemaError({"loc": ["query", "agent_id"], "msg": "Field required", "type": "missing"})
        desk.find_agent(agent_id)
        names_conversation = request.args.get("include_conversation_id", "").lower() in ("true", "1")
        conversation_id = _new_conversation_id() if names_conversation else None
        token = desk.signatures.issue(agent_id, conversation_id=conversation_id)
        scheme = "wss" if request.scheme == "https" else "ws"
        query = urlencode({"agent_id": agent_id, "conversation_signature": token})
        return {"signed_url": f"{scheme}://{request.host}{SOCKET_PATH}?{query}"}

    @routes.get(f"{SOCKET_PATH}/token", endpoint="token")
    def get_token() -> dict[str, str]:
        raise ApiError(
            "bad_request",
            "WebRTC is not offered here. Start the session with connectionType 'websocket', or with a signedUrl.",
        )


def _add_agents(routes: Blueprint, desk: CallDesk) -> None:
    @routes.get("/v1/convai/agents", endpoint="list")
    def list_agents() -> dict[str, Any]:
        require_key(desk.state)
        search = request.args.get("search", "").casefold()
        found = [agent for agent in desk.agents.values() if search in agent.profile.name.casefold()]
        return {"agents": [show_agent_row(agent) for agent in found], "has_more": False, "next_cursor": None}

    @routes.get("/v1/convai/agents/<agent_id>", endpoint="get")
    def get_agent(agent_id: str) -> dict[str, Any]:
        require_key(desk.state)
        return show_agent(desk.find_agent(agent_id))


def _add_conversations(routes: Blueprint, desk: CallDesk) -> None:
    @routes.get("/v1/convai/conversations", endpoint="conversations")
    def list_conversations() -> dict[str, Any]:
        require_key(desk.state)
        limit = min(max(request.args.get("page_size", 30, type=int), 1), MAX_PAGE)
        latest = desk.records.latest(agent_id=request.args.get("agent_id"), limit=limit)
        return {"conversations": [record.summary() for record in latest], "has_more": False, "next_cursor": None}

    @routes.get("/v1/convai/conversations/<conversation_id>", endpoint="conversation_details")
    def get_conversation(conversation_id: str) -> dict[str, Any]:
        require_key(desk.state)
        return desk.find_record(conversation_id).details()

    @routes.delete("/v1/convai/conversations/<conversation_id>", endpoint="conversation_deletion")
    def delete_conversation(conversation_id: str) -> dict[str, Any]:
        require_key(desk.state)
        desk.find_record(conversation_id)
        desk.records.remove(conversation_id)
        return {}

    @routes.post("/v1/convai/conversations/<conversation_id>/feedback", endpoint="feedback")
    def rate_conversation(conversation_id: str) -> dict[str, Any]:
        # Browsers call this without a key.
        rating = request.get_json(silent=True, force=True)
        if not isinstance(rating, dict) or (
            rating.get("feedback") not in ("like", "dislike") and not isinstance(rating.get("rating"), int)
        ):
            message = "Input should be 'like' or 'dislike'"
            raise SchemaError({"loc": ["body", "feedback"], "msg": message, "type": "literal_error"})
        desk.find_record(conversation_id).rate(rating)
        return {}


def _queue_status(status: str) -> dict[str, Any]:
    return {"type": "queue_status", "queue_status_event": {"status": status}}


def _new_conversation_id() -> str:
    return f"conv_{uuid.uuid4().hex}"


def _subprotocol_key() -> str | None:
    """Return the key of the JS SDK's option `authorization`, which comes as a subprotocol `bearer.<key>`."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    keys = [name.strip().removeprefix("bearer.") for name in offered if name.strip().startswith("bearer.")]
    return keys[0] if keys else None
