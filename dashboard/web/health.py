"""Whether the process lives: for whoever starts it and watches over it."""

from __future__ import annotations

from flask import Blueprint, Response


def blueprint() -> Blueprint:
    """Make the one endpoint."""
    health = Blueprint("health", __name__)
    health.add_url_rule("/livez", "livez", _livez)
    return health


def _livez() -> Response:
    return Response("ok\n", mimetype="text/plain")
