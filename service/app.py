"""The Flask application: the endpoints of `service.web` over the services that they are given."""

from __future__ import annotations

import flask_sock
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from service.services import Services
from service.web import access, chat, conversation_socket, errors, health, http_metrics, speech, speech_socket
from service.web.request_log import RequestLog
from service.websocket import SERVER_OPTIONS, UpgradedSocket, WithoutCompression

_CONVERSATIONS = "conversation_socket.converse"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def create_app(services: Services) -> Flask:
    """The application over `services`, which the caller starts and closes."""
    settings = services.settings
    app = Flask("service.web", static_folder="static", template_folder="templates")
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    flask_sock.Server = UpgradedSocket  # flask-sock has no option for what answers an upgrade
    app.config["SOCK_SERVER_OPTIONS"] = {**SERVER_OPTIONS, "subprotocols": ["convai"]}
    trusted_hosts = _trusted_hosts(settings.host, settings.public_url)
    app.config["TRUSTED_HOSTS"] = trusted_hosts
    app.extensions["vocero"] = services
    errors.register(app)
    access.register(app, services)
    for module in (chat, conversation_socket, speech_socket, health):
        app.register_blueprint(module.blueprint(services))
    app.register_blueprint(speech.blueprint())
    http_metrics.register(app, leave_out=[_CONVERSATIONS, *speech_socket.ENDPOINTS])
    door = speech.SpeechDoor(app.wsgi_app, services, trusted_hosts=trusted_hosts, backup=services.backup_speech)
    measured = http_metrics.SpeechMetrics(door)
    app.wsgi_app = WithoutCompression(measured)  # type: ignore[method-assign]  # Flask's documented way
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    named = RequestLog(app.wsgi_app, believes_given_ids=settings.trusted_proxies > 0)
    app.wsgi_app = named  # type: ignore[method-assign]
    return app


def _trusted_hosts(host: str, public_url: str | None) -> list[str] | None:
    """The names that we answer to; None for any.

    On loopback the list keeps a web site from reaching us under a name of its own that resolves to 127.0.0.1.
    """
    if public_url is not None:
        name = public_url.split("://", 1)[1].split("/", 1)[0].rsplit("@", 1)[-1]
        return [name.rsplit(":", 1)[0] if not name.endswith("]") else name, *LOOPBACK]
    return list(LOOPBACK) if host in {"127.0.0.1", "localhost", "::1"} else None
