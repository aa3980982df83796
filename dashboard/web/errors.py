"""What somebody is told when something did not work: what, and what to do about it.

The key decision: the API tells it in one shape (`{"error": {"code", "message", "param"}}`), a page in a sentence of the
reader's language. What went wrong inside goes to the log, never to the reader, who gets the request's id to ask by.
"""

from __future__ import annotations

import redis
import structlog
from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from dashboard.web.answers import json_answer, page
from dashboard.web.looks import language
from dashboard.words import translate
from service.errors import RequestError, SecretsSourceError, ServiceUnavailableError

log = structlog.get_logger(__name__)

RETRY_SECONDS = 2.0
_TOLD = frozenset({400, 401, 403, 404, 405, 409, 413, 429, 500, 503})  # statuses that have words of their own


def register(app: Flask) -> None:
    """Give `app` an answer for each kind of failure."""
    app.register_error_handler(RequestError, _answer_request_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(redis.RedisError, _answer_no_redis)
    app.register_error_handler(SQLAlchemyError, _answer_no_database)
    app.register_error_handler(SecretsSourceError, _answer_no_database)
    app.register_error_handler(Exception, _answer_unexpected)


def wants_json() -> bool:
    """Tell whether the request comes from a script: the API, and what brings a page up to date."""
    is_script = request.path.startswith("/api/") or request.mimetype == "application/json"
    return is_script or "X-Fragment" in request.headers


def error_answer(
    status: int, code: str, message: str, *, param: str | None = None, retry_after: float | None = None
) -> Response:
    """The answer about a failure, as whoever asked can read it."""
    if wants_json():
        told = _in_words(code, message, retry_after)
        answer = json_answer({"error": {"code": code, "message": told, "param": param}}, status)
    else:
        answer = _error_page(status, code, message)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(max(1, round(retry_after)))
    return answer


def _in_words(code: str, message: str, retry_after: float | None) -> str:
    """What a script of ours shows: in the reader's language if the code alone says it all, else as it was raised."""
    key = f"errors.code.{code}"
    text = translate(key, language(), seconds=max(1, round(retry_after or 0)))
    return message if text == key else text


def _error_page(status: int, code: str, message: str) -> Response:
    spoken = language()
    key = {"redis_unavailable": "redis", "database_unavailable": "database"}.get(code)
    if key is None:
        key = str(status) if status in _TOLD else "400"
    own_words = key in {"400", "409", "429"}  # here the message says more than a status can
    text = message if own_words else translate(f"errors.{key}.text", spoken)
    return page(
        "error.html",
        status=status,
        heading=translate(f"errors.{key}.heading", spoken),
        text=text,
        hint=translate(f"errors.{key}.hint", spoken, request_id=g.get("request_id", "")),
    )


def _answer_request_error(error: RequestError) -> Response:
    if type(error) is ServiceUnavailableError and error.code == "service_unavailable":
        return _answer_no_database(error)  # who raises it without a code of its own is a store of the database
    return error_answer(
        error.http_status, error.code, error.message, param=error.param, retry_after=getattr(error, "retry_after", None)
    )


def _answer_no_redis(error: redis.RedisError) -> Response:
    log.warning("redis does not answer", error=type(error).__name__)
    message = translate("errors.redis.message", language())
    return error_answer(503, "redis_unavailable", message, retry_after=RETRY_SECONDS)


def _answer_no_database(error: Exception) -> Response:
    log.warning("the database does not answer", error=type(error).__name__)
    message = translate("errors.database.message", language())
    return error_answer(503, "database_unavailable", message, retry_after=RETRY_SECONDS)


def _answer_http_exception(error: HTTPException) -> Response:
    status = error.code or 500
    if 300 <= status < 400:
        return error.get_response()  # type: ignore[return-value]  # Flask's own responses, typed as Werkzeug's
    code = "request_too_large" if status == 413 else (error.name or "error").lower().replace(" ", "_")
    answer = error_answer(status, code, error.description or error.name or "")
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def _answer_unexpected(_: Exception) -> Response:
    log.exception("request failed")
    message = f"Something went wrong here; the log has it under request {g.get('request_id', '')}."
    return error_answer(500, "internal_error", message)
