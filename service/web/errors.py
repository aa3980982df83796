"""Every failure as ElevenLabs words it, so that the official SDKs raise the right class with a readable message.

The key decision: a refused key or an empty account is *ours*, never the integrator's: they get 503, not the 401
that would send them looking at their own key.
"""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException
from wsproto.utilities import RemoteProtocolError

from service.errors import (
    CapacityError,
    RequestError,
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamQuotaError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from service.web.request_log import REQUEST_ID

log = structlog.get_logger(__name__)
_TYPES = {401: "authentication_error", 403: "authorization_error", 404: "not_found", 409: "conflict"}


def register(app: Flask) -> None:
    """Give `app` an answer for each kind of failure."""
    app.register_error_handler(RequestError, _answer_request_error)
    app.register_error_handler(UpstreamError, _answer_upstream_error)
    app.register_error_handler(CapacityError, _answer_no_room)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(RemoteProtocolError, _answer_bad_upgrade)
    app.register_error_handler(Exception, _answer_unexpected)


def error_body(*, type: str, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """ElevenLabs' error body; `status` mirrors `code` for clients that know only the older form."""
    detail = {"type": type, "code": code, "message": message, "status": code, "request_id": request_id()}
    return {"detail": {**detail, "param": param} if param else detail}


def request_id() -> str:
    """The id of this request, as the client is told it and the log has it."""
    return str(request.environ[REQUEST_ID])


def _answer(status: int, body: dict[str, Any], retry_after: float | None = None) -> Response:
    response = jsonify(body)
    response.status_code = status
    response.headers["request-id"] = request_id()
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response


def _answer_request_error(error: RequestError) -> Response:
    body = error_body(type=error.type, code=error.code, message=error.message, param=error.param)
    return _answer(error.http_status, body, getattr(error, "retry_after", None))


def _answer_no_room(error: CapacityError) -> Response:
    log.warning("no room for a request", reason=str(error))
    body = error_body(
        type="service_unavailable", code="service_unavailable", message="All places are taken; try again."
    )
    return _answer(503, body, error.retry_after)


def _answer_upstream_error(error: UpstreamError) -> Response:
    status, type_, code = _upstream_status(error)
    log.warning("upstream failed", code=error.code, status=error.status, upstream_request_id=error.request_id)
    body = error_body(type=type_, code=code, message=error.public_message, param=error.param)
    return _answer(status, body, error.retry_after)


def _upstream_status(error: UpstreamError) -> tuple[int, str, str]:
    if isinstance(error, UpstreamKeyError | UpstreamQuotaError):
        return 503, "service_unavailable", "upstream_account_unusable"
    if isinstance(error, UpstreamConcurrencyError | UpstreamBusyError):
        return error.status or 429, error.type or "rate_limit_error", error.code
    if isinstance(error, UpstreamTimeoutError):
        return 504, "service_unavailable", error.code
    if isinstance(error, UpstreamUnavailableError):
        return 502, "service_unavailable", error.code
    status = error.status or 400
    return status, error.type or _TYPES.get(status, "invalid_request"), error.code


def _answer_http_exception(error: HTTPException) -> Response:
    status = error.code or 500
    code = (error.name or "error").lower().replace(" ", "_")
    if status == 413:
        code = "request_too_large"
    type_ = _TYPES.get(status, "invalid_request")
    return _answer(status, error_body(type=type_, code=code, message=error.description or error.name or ""))


def _answer_bad_upgrade(_: RemoteProtocolError) -> Response:
    body = error_body(type="invalid_request", code="bad_request", message="This is not a WebSocket upgrade.")
    return _answer(400, body)


def _answer_unexpected(_: Exception) -> Response:
    log.exception("request failed")
    return _answer(500, error_body(type="internal_error", code="internal_error", message="Internal error."))
