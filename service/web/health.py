"""Is the process alive, and can it serve?"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from service import __version__
from service.ops_readiness import OK, schemas
from service.services import Services


def blueprint(services: Services) -> Blueprint:
    """Routes `/livez`, `/readyz` and `/version`; for all workers together the ops listener answers the same."""
    routes = Blueprint("health", __name__)

    @routes.get("/livez")
    def livez() -> Response:
        return jsonify({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        said = services.readiness.now()
        response = jsonify(
            {
                "status": OK if said.is_ready else "unavailable",
                **said.dependencies,
                "draining": said.draining,
                "maintenance": said.maintenance,
            }
        )
        response.status_code = 200 if said.is_ready else 503
        return response

    @routes.get("/version")
    def version() -> Response:
        return jsonify({"version": __version__, "schema": schemas([services.readiness.last()])})

    return routes
