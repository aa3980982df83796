"""Whether the process lives, for whoever starts it and watches over it; and which version it is, for who is signed in.

The key decision: the door says nothing of the version. Whoever may not come in need not know what to look for.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from dashboard.web.context import parts
from service import __version__
from service.storage.schema import SCHEMA_REVISION


def blueprint() -> Blueprint:
    """Make the two endpoints."""
    health = Blueprint("health", __name__)
    health.add_url_rule("/livez", "livez", _livez)
    health.add_url_rule("/version", "version", _version)
    return health


def _livez() -> Response:
    return Response("ok\n", mimetype="text/plain")


def _version() -> Response:
    """In the shape of the service's own."""
    found = parts().database.revision
    return jsonify(
        {"version": __version__, "schema": {"code": [SCHEMA_REVISION], "database": [found] if found else []}}
    )
