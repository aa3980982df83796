"""What somebody is told when something did not work: what, and what to do about it.

The key decision: the API tells it in one shape (`{"error": {"code", "message", "param"}}`), a page in a sentence. Both
are in the reader's language: programs go by the code, which has none. A message that has no words of ours (a library's,
a store's) is not shown; its code or its status says what there is to say. What went wrong inside goes to the log, never
to the reader, who gets the request's id to ask by.
"""

from __future__ import annotations

import redis
import structlog
from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, SecurityError

from dashboard.web.answers import json_answer, page
from dashboard.web.looks import language, worded
from dashboard.words import translate
from dashboard.words.said import Said
from service.errors import RequestError, SecretsSourceError, ServiceUnavailableError

log = structlog.get_logger(__name__)

RETRY_SECONDS = 2.0
_TOLD = frozenset({400, 401, 403, 404, 405, 409, 413, 429, 500, 503})  # statuses that have words of their own
_STORES = {"redis_unavailable": "redis", "database_unavailable": "database"}


def register(app: Flask) -> None:
    """Give `app` an answer for each kind of failure."""
    app.register_error_handler(RequestError, _answer_request_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(SecurityError, _answer_foreign_name)
    app.register_error_handler(redis.RedisError, _answer_no_redis)
    app.register_error_handler(SQLAlchemyError, _answer_no_database)
    app.register_error_handler(SecretsSourceError, _answer_no_database)
    app.register_error_handler(Exception, _answer_unexpected)


def wants_json() -> bool:
    """Tell whether the request comes from a script: the API, and what brings a page up to date."""
    is_script = request.path.startswith("/api/") or request.mimetype == "application/json"
    return is_script or "X-Fragment" in request.headers


def in_words(error: RequestError) -> str:
    """What is wrong, in the language of whoever asked."""
    return _in_words(error.http_status, error.code, error.message)


def error_answer(
    status: int, code: str, message: str, *, param: str | None = None, retry_after: float | None = None
) -> Response:
    """The answer about a failure, as whoever asked can read it."""
    told = _in_words(status, code, message)
    if wants_json():
        answer = json_answer({"error": {"code": code, "message": told, "param": param}}, status)
    else:
        answer = _error_page(status, code, told)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(max(1, round(retry_after)))
    return answer


def _in_words(status: int, code: str, message: str) -> str:
    if isinstance(message, Said):
        return worded(message)
    spoken, key = language(), f"errors.code.{code}"
    text = translate(key, spoken)
    return text if text != key else translate(f"errors.{_told(status)}.text", spoken)


def _told(status: int) -> str:
    """The status whose words are the nearest."""
    return str(status) if status in _TOLD else "400" if status < 500 else "500"


def _error_page(status: int, code: str, text: str) -> Response:
    spoken = language()
    key = _STORES.get(code, _told(status))
    return page(
        "error.html",
        status=status,
        heading=translate(f"errors.{key}.heading", spoken),
        # A page without its store says what that means for whoever is here; a script's page goes on.
        text=translate(f"errors.{key}.text", spoken) if key in _STORES.values() else text,
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
    return error_answer(503, "redis_unavailable", Said("errors.redis.message"), retry_after=RETRY_SECONDS)


def _answer_no_database(error: Exception) -> Response:
    log.warning("the database does not answer", error=type(error).__name__)
    return error_answer(503, "database_unavailable", Said("errors.database.message"), retry_after=RETRY_SECONDS)


def _answer_http_exception(error: HTTPException) -> Response:
    status = error.code or 500
    if 300 <= status < 400:
        return error.get_response()  # type: ignore[return-value]  # Flask's own responses, typed as Werkzeug's
    code = "request_too_large" if status == 413 else (error.name or "error").lower().replace(" ", "_")
    answer = error_answer(status, code, error.name or "")
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def _answer_foreign_name(error: SecurityError) -> Response:
    """A page cannot be made where the name is not ours, because no address on it can; so it is plain text."""
    message, status = Said("errors.foreign_name"), error.code or 400
    if wants_json():
        return error_answer(status, "bad_request", message)
    return Response(f"{worded(message)}\n", status, mimetype="text/plain")


def _answer_unexpected(_: Exception) -> Response:
    log.exception("request failed")
    return error_answer(500, "internal_error", Said("errors.unexpected", request_id=g.get("request_id", "")))
