"""The chat page, and the tickets that let it open a conversation."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, jsonify, render_template, request

from service import __version__
from service.conversation.tickets import Ticket
from service.errors import NotFoundError
from service.services import Services
from service.web.access import require_same_origin, socket_address
from service.web.conversation_socket import CONVERSATION_PATH


def blueprint(services: Services) -> Blueprint:
    """Routes `/` and `/chat/tickets`."""
    routes = Blueprint("chat", __name__)
    settings = services.settings

    @routes.get("/")
    def page() -> str:
        return render_template(
            "chat.html",
            agent_id=settings.elevenlabs_agent_id,
            languages=",".join(sorted(settings.page_languages)),
            sandbox=settings.sandbox,
            version=__version__,
        )

    @routes.post("/chat/tickets")
    def issue_ticket() -> Response:
        origin = require_same_origin(settings)
        services.maintenance.check()
        services.tickets.count(request.remote_addr or "")
        agent_id = settings.elevenlabs_agent_id
        if agent_id is None:
            raise NotFoundError("No agent is set up for this page (ELEVENLABS_AGENT_ID).", code="agent_not_found")
        token = services.tickets.issue(
            Ticket(agent_id=agent_id, origin=origin), seconds=settings.ticket_seconds, single_use=True
        )
        query = urlencode({"agent_id": agent_id, "conversation_signature": token})
        address = socket_address(settings, f"{CONVERSATION_PATH}?{query}")
        response = jsonify({"signed_url": address, "expires_in": settings.ticket_seconds})
        response.headers["Cache-Control"] = "no-store"
        return response

    return routes
