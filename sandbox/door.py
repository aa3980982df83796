"""What happens to every request before and after its route: ids, counting, fault rules, CORS, errors.

The key decision: one door for all routes, the agents' too, so that "every request can be counted and broken" holds
without each route doing anything. `/sandbox/...` does not pass it: the controls always work.
"""

from __future__ import annotations

import time
import uuid

from flask import Flask, Response, g, jsonify, make_response, request
from werkzeug.exceptions import HTTPException

from sandbox.broken_answers import break_answer
from sandbox.errors import ApiError, SchemaError
from sandbox.faults import Fault
from sandbox.state import SandboxState

CONTROL_PREFIX = "sandbox."
REGION = "sandbox"
_EXPOSED = (
    "request-id, history-item-id, character-cost, regeneration-count, generation-info, "
    "current-concurrent-requests, maximum-concurrent-requests, collect-preference"
)


def request_id() -> str:
    """Give the id of the request that is being served, in the style of ElevenLabs' ids."""
    if "request_id" not in g:
        g.request_id = uuid.uuid4().hex[:20]
    return str(g.request_id)


def fault_of_request() -> Fault | None:
    """Give what goes wrong with the HTTP request that is being served; sockets ask `state.faults.next`."""
    fault: Fault | None = g.get("fault")
    return fault


def refuse(fault: Fault) -> Response:
    """Give the answer of a fault that has a status: its body, else the body of its code."""
    if fault.body is not None:
        answer = jsonify(fault.body) if not isinstance(fault.body, str) else make_response(fault.body)
        answer.status_code = fault.status or 500
        return answer
    raise ApiError(fault.code or _code_of_status(fault.status or 500), status=fault.status)


def register(app: Flask, state: SandboxState) -> None:
    """Put the door in front of all routes of `app`."""

    @app.before_request
    def enter() -> Response | None:
        route = _route()
        if route is None:
            return None
        state.stats.request(route)
        if (fault := state.faults.refusal(route)) is not None:
            time.sleep(fault.latency)
            return refuse(fault)
        if request.url_rule is None or request.url_rule.websocket:
            return None
        g.fault = fault = state.faults.next(route)
        if fault is not None:
            time.sleep(fault.latency)
        return None

    @app.after_request
    def leave(response: Response) -> Response:
        _add_headers(response)
        route = _route()
        if route is None or (
            request.url_rule is not None and request.url_rule.websocket and response.status_code < 400
        ):
            return response
        state.stats.answered(response.status_code)
        if (fault := fault_of_request()) is not None:
            connection = request.environ.get("sandbox.socket")
            speaks = route.startswith("tts.")
            break_answer(response, fault, connection, seed=state.options.seed, speaks=speaks)
        return response

    @app.errorhandler(ApiError)
    def refused(error: ApiError) -> tuple[Response, int]:
        return jsonify(error.body(request_id(), old_shape=state.options.old_errors)), error.status

    @app.errorhandler(SchemaError)
    def misshapen(error: SchemaError) -> tuple[Response, int]:
        return jsonify(error.body()), 422

    @app.errorhandler(HTTPException)
    def not_served(error: HTTPException) -> tuple[Response, int]:
        # FastAPI's words for what has no route: {"detail": "Not Found"}.
        return jsonify({"detail": error.name}), error.code or 500


def _route() -> str | None:
    if request.method == "OPTIONS" or request.endpoint is None or request.endpoint.startswith(CONTROL_PREFIX):
        return None
    return request.endpoint


def _code_of_status(status: int) -> str:
    by_status = {
        400: "bad_request", 401: "invalid_api_key", 402: "insufficient_credits", 403: "forbidden", 404: "not_found",
        409: "conflict", 429: "system_busy", 503: "service_unavailable",
    }  # fmt: skip
    return by_status.get(status, "internal_error")


def _add_headers(response: Response) -> None:
    response.headers["request-id"] = request_id()
    response.headers["x-trace-id"] = request_id()
    response.headers["x-region"] = REGION
    response.headers["access-control-allow-origin"] = "*"
    response.headers["access-control-expose-headers"] = _EXPOSED
    response.headers["access-control-max-age"] = "600"
    if request.method == "OPTIONS":
        response.headers["access-control-allow-headers"] = "*"
        response.headers["access-control-allow-methods"] = "POST, PATCH, OPTIONS, DELETE, GET, PUT"
