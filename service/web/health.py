"""Is the process alive, and can it serve?"""

from __future__ import annotations

import redis
from flask import Blueprint, Response, jsonify
from sqlalchemy.exc import SQLAlchemyError

from service import __version__
from service.errors import ConfigurationError, SchemaError, ServiceUnavailableError
from service.metrics import SecretsState
from service.services import Services
from service.storage import check_schema


def blueprint(services: Services) -> Blueprint:
    """Routes `/livez`, `/readyz` and `/version`."""
    routes = Blueprint("health", __name__)

    @routes.get("/livez")
    def livez() -> Response:
        return jsonify({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        states = {
            "redis": _redis_state(services),
            "database": _database_state(services),
            "secrets": _secrets_state(services),
        }
        maintenance = services.maintenance.current
        is_draining = services.conversations.is_draining
        is_ready = set(states.values()) == {"ok"} and maintenance is None and not is_draining
        response = jsonify(
            {
                "status": "ok" if is_ready else "unavailable",
                **states,
                "draining": is_draining,
                "maintenance": None if maintenance is None else maintenance.reason,
            }
        )
        response.status_code = 200 if is_ready else 503
        return response

    @routes.get("/version")
    def version() -> Response:
        return jsonify({"version": __version__})

    return routes


def _redis_state(services: Services) -> str:
    try:
        services.redis.ping()
    except redis.RedisError as exc:
        return type(exc).__name__
    return "ok"


def _database_state(services: Services) -> str:
    try:
        check_schema(services.database)
    except SchemaError as exc:
        return str(exc)
    except (ConfigurationError, ServiceUnavailableError, SQLAlchemyError) as exc:
        return "unreachable" if isinstance(exc, ConfigurationError) else type(exc).__name__
    return "ok"


def _secrets_state(services: Services) -> str:
    status = services.secrets.status()
    if status.state in {SecretsState.FRESH, SecretsState.STALE}:
        return "ok"
    return f"{status.state}: {status.last_error or 'not read yet'}"
