"""The conversation socket, and the signed URLs that open it: ElevenLabs' own routes, on our address."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import flask_sock
import structlog
from flask import Blueprint, Response, jsonify, request

from service.conversation.admission import MAX_AGENT_ID_CHARACTERS, Credentials
from service.conversation.conversation import Conversation
from service.conversation.elevenlabs_legs import Waiting
from service.conversation.events import build_error_event
from service.conversation.observation import Observation
from service.conversation.recording import Recording
from service.conversation.resumption import Resumption, read_resume_request
from service.conversation.standing import turns_of
from service.conversation.succession import Past
from service.conversation.tickets import Ticket
from service.conversation.waiting_room import WaitingRoom
from service.errors import RequestError, ResumeTokenExpiredError, ServiceUnavailableError, SocketError
from service.key_limits import KeyBound, bound_of
from service.services import Services
from service.storage import ApiScope
from service.web.access import check_socket_origin, require_api_key, socket_address
from service.websocket import WebSocketConnection, take_over

log = structlog.get_logger(__name__)
CONVERSATION_PATH = "/v1/convai/conversation"
_KEY_SUBPROTOCOL = "bearer."


def blueprint(services: Services) -> Blueprint:
    """Routes below `/v1/convai/conversation`."""
    routes = Blueprint("conversation_socket", __name__)
    settings = services.settings

    @routes.before_request
    def check_origin() -> None:
        if request.path == CONVERSATION_PATH:
            check_socket_origin(settings)

    def converse(handshaken: Any) -> None:
        connection = take_over(
            handshaken,
            write_deadline_seconds=settings.write_deadline_seconds,
            max_message_bytes=settings.max_client_message_bytes,
        )
        connection.farewell = build_error_event
        shown = _credentials(request.environ)
        observation = Observation(traces=services.traces, tap=services.answer_tap(), is_resumed=shown.resumes)
        try:
            if shown.resumes:
                _resume_conversation(services, connection, observation)
            else:
                _hold_conversation(services, connection, shown, observation)
        except RequestError as exc:
            observation.refused(exc)
            connection.close(exc.close_code, exc.message)
        except Exception:  # gunicorn would write an HTTP 500 page into the socket's stream
            log.exception("conversation socket failed")
            observation.failed()
            connection.close(1011, "Internal error.")

    flask_sock.Sock().route(CONVERSATION_PATH, bp=routes)(converse)

    @routes.get(f"{CONVERSATION_PATH}/get-signed-url")
    @routes.get(f"{CONVERSATION_PATH}/get_signed_url")
    def get_signed_url() -> Response:
        key = require_api_key(services, ApiScope.CONVERSATION)
        services.maintenance.check()
        agent_id = _wanted_agent_id()
        single_use = request.args.get("include_conversation_id", "false").lower() == "true"
        ticket = Ticket(agent_id=agent_id, bound=bound_of(key), key_id=key.id)
        token = services.tickets.issue(ticket, seconds=settings.signed_url_seconds, single_use=single_use)
        query = urlencode({"agent_id": agent_id, "conversation_signature": token})
        return jsonify({"signed_url": socket_address(settings, f"{CONVERSATION_PATH}?{query}")})

    @routes.get(f"{CONVERSATION_PATH}/token")
    def get_token() -> Response:
        raise RequestError(
            'Vocero carries conversations over WebSocket, not WebRTC: use connectionType "websocket", or a signed URL.',
            code="feature_not_available",
        )

    return routes


def _hold_conversation(
    services: Services, connection: WebSocketConnection, shown: Credentials, observation: Observation
) -> None:
    services.maintenance.check()  # before a ticket is used up
    admitted = services.admission.admit(shown)
    waiting_room = WaitingRoom(connection, asked=shown.wants_queue_status)

    def end_without_slot() -> None:
        # In a thread of its own: the limiter's has all the other leases to keep.
        threading.Thread(target=conversation.end, args=(1013, "The slot at ElevenLabs was lost."), daemon=True).start()

    conversation = _conversation(
        services,
        connection,
        admitted.agent_id,
        waiting=Waiting(
            on_wait=waiting_room.note_position,
            on_admitted=waiting_room.admit,
            on_timeout=waiting_room.give_up,
            on_lost=end_without_slot,
        ),
        resumption=_resumption(services, admitted.bound) if shown.wants_events else None,
        observation=observation,
    )
    with services.key_limits.place(admitted.bound):
        _run(services, conversation, admitted.agent_id)


def _resume_conversation(services: Services, connection: WebSocketConnection, observation: Observation) -> None:
    services.maintenance.check()
    try:
        first = connection.receive(services.limits.first_frame_seconds)
    except (SocketError, TimeoutError):
        connection.close(1008, "A connection that resumes begins with conversation_resume.")
        return
    asked = read_resume_request(first.data)
    if not services.resumptions.office.holds(asked.token):
        services.conversations.check()  # before the token is used up
    claim = services.resumptions.office.claim(asked.token)
    if claim.is_here:
        hall = services.resumptions.hall
        if not hall.hand_over(claim.conversation_id, connection, asked.received, asked.last_event_id):
            # Its worker may have let it go just now; if it has ended, the next attempt is told so.
            raise ServiceUnavailableError("The conversation cannot be resumed now; try again.", retry_after=1.0)
        return
    history = services.ledger.take_over(claim.conversation_id, fence=claim.fence)
    if history is None:
        raise ResumeTokenExpiredError

    def end_without_slot() -> None:
        threading.Thread(target=conversation.end, args=(1013, "The slot at ElevenLabs was lost."), daemon=True).start()

    conversation = _conversation(
        services,
        connection,
        claim.facts.agent_id,
        waiting=Waiting(on_lost=end_without_slot),
        resumption=Resumption(services.resumptions, bound=claim.facts.bound, claim=claim, received=asked.received),
        past=Past(
            claim=claim,
            last_event_id=asked.last_event_id,
            records=tuple(history.records()),
            turns=turns_of(history),
            provider=history.legs[-1].provider if history.legs else "",
        ),
        observation=observation,
    )
    with services.key_limits.place(claim.facts.bound, goes_on=True):
        _run(services, conversation, claim.facts.agent_id)


def _resumption(services: Services, bound: KeyBound | None) -> Resumption | None:
    return Resumption(services.resumptions, bound=bound) if services.resumptions.seconds else None


def _conversation(
    services: Services,
    connection: WebSocketConnection,
    agent_id: str,
    *,
    waiting: Waiting,
    resumption: Resumption | None,
    observation: Observation,
    past: Past | None = None,
) -> Conversation:
    keeps_words = services.settings.transcript_days > 0
    return Conversation(
        connection,
        agent_id=agent_id,
        legs=services.legs,
        limits=services.limits,
        loop=services.loop,
        recording=Recording(services.ledger.note, agent_id=agent_id, keeps_words=keeps_words),
        waiting=waiting,
        resumption=resumption,
        past=past,
        observation=observation,
    )


def _run(services: Services, conversation: Conversation, agent_id: str) -> None:
    with services.conversations.place(conversation):
        ending = conversation.run()
    if conversation.goes_on_elsewhere and conversation.conversation_id:
        services.ledger.release(conversation.conversation_id)
    log.info(
        "conversation ended",
        conversation_id=conversation.conversation_id,
        agent_id=agent_id,
        by=ending.by,
        code=ending.code,
    )


def _credentials(environ: Mapping[str, Any]) -> Credentials:
    """What the client shows. Flask's `request` reads the same, at four times the CPU."""
    asked = dict(reversed(parse_qsl(environ.get("QUERY_STRING", ""))))  # the first of a name counts
    tokens = (name.strip() for name in environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(","))
    bearer = next((name.removeprefix(_KEY_SUBPROTOCOL) for name in tokens if name.startswith(_KEY_SUBPROTOCOL)), None)
    return Credentials(
        agent_id=asked.get("agent_id"),
        signature=asked.get("conversation_signature") or asked.get("token"),
        api_key=environ.get("HTTP_XI_API_KEY") or bearer,
        origin=environ.get("HTTP_ORIGIN"),
        wants_queue_status=asked.get("queue_status") == "true",
        wants_events=asked.get("vocero_events") == "true",
        resumes=asked.get("resume") == "true",
    )


def _wanted_agent_id() -> str:
    agent_id = request.args.get("agent_id", "")
    if not agent_id or len(agent_id) > MAX_AGENT_ID_CHARACTERS:
        raise RequestError("agent_id is missing or too long.", code="missing_required_field", param="agent_id")
    return agent_id
